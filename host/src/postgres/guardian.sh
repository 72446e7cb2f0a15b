# Becomes the command given as arguments, and interrupts it (for Postgres: a fast shutdown) once standard input ends.
# Elita holds the other end of it, so that happens even when Elita is killed without a chance to clean up.
# A line, instead of the end, says that the command is gone and there is nothing left to guard.
exec 3<&0 </dev/null
# The guard is a child of a child that ends at once: Postgres would take one of its own for a crashed backend.
(
    {
        read -r _ <&3 && exit
        kill -INT $$ || exit
        seconds=0
        while [ $seconds -lt 20 ] && kill -0 $$; do
            sleep 1
            seconds=$((seconds + 1))
        done
        kill -QUIT $$
    } >/dev/null 2>&1 &
)
exec "$@" 3<&-
