# Runs one command, once, under a deadline, and keeps what became of it. Set before this: `n` (the mark of lines that are
# meant for Elita), `apart` (whether a mark is between the two outputs), `base` and `id` (where the command's files are), `boot`, `len` (bytes of input that follow), `cap`
# (how much of each output is kept, in bytes), `limit` and `grace` (seconds); and the functions `say`, `report`,
# `end_group`, `short_pause`, `input_` (writes the input, or, if there is no input, the reason into `$d/why`), `write_script_` and `command_`.
mask=$(umask)
umask 077
mkdir -p "$base" 2>/dev/null
# The lock is what makes it run once: a link is made in one step, and says who made it.
if ! ln -s "$$.$boot" "$d.lock" 2>/dev/null; then
    if [ -h "$d.lock" ]; then say known; else say refused "nothing can be written to $base"; fi
    exit 0
fi
# What nobody has asked for in two days goes; no command runs that long.
find "$base" -mindepth 1 -maxdepth 1 -mmin +2880 -exec rm -rf {} + >/dev/null 2>&1
if ! { mkdir "$d" && mkfifo "$d/o" "$d/e" && : > "$d/in" && : > "$d/out" && : > "$d/err" && write_script_; } 2>/dev/null; then
    rm -rf "$d" "$d.lock"
    say refused "nothing can be written to $base"
    exit 0
fi
[ "$len" -eq 0 ] || input_ > "$d/in"
if [ "$(($(wc -c < "$d/in")))" -ne "$len" ]; then
    why=$(cat "$d/why" 2>/dev/null)
    rm -rf "$d" "$d.lock"
    say refused "${why:-its input did not arrive whole}"
    exit 0
fi
exec 3< "$d/in"
rm -f "$d/in"
# Whatever becomes of the connection: the command goes on to its end or its deadline.
trap '' HUP PIPE
: > "$d/started"
say start
# Of each output as much is kept as the limit of a file's size lets through; the rest is read and thrown away.
keep_() {
    trap - HUP PIPE
    ulimit -c 0
    ulimit -f "$((cap / 512 + 1))"
    cat > "$1"
    cat > /dev/null
}
( keep_ "$d/out" ) < "$d/o" > /dev/null 2>&1 3<&- & co=$!
( keep_ "$d/err" ) < "$d/e" > /dev/null 2>&1 3<&- & ce=$!
if command -v setsid > /dev/null 2>&1; then
    in_group_() { exec setsid "$@"; }
elif command -v perl > /dev/null 2>&1; then
    in_group_() { exec perl -e 'setpgrp(0, 0); exec { $ARGV[0] } @ARGV; print STDERR "$ARGV[0]: $!\n"; exit 127' -- "$@"; }
else
    in_group_() { exec "$@"; }
    set -m
fi
( trap - HUP PIPE; umask "$mask"; command_ ) <&3 > "$d/o" 2> "$d/e" 3<&- & p=$!
set +m
exec 3<&-
echo "$p" > "$d/pid"
( trap 'kill "$s" 2>/dev/null; exit 0' TERM
  sleep "$limit" & s=$!
  wait "$s"
  trap '' TERM
  : > "$d/late"
  end_group ) < /dev/null > /dev/null 2>&1 & w=$!
wait "$p"
r=$?
late=0
if [ -f "$d/late" ]; then late=1; else kill "$w" 2> /dev/null; fi
wait "$w" 2> /dev/null
# What the command has left behind may hold its output open: that is not waited for.
( trap 'kill "$s" 2>/dev/null; exit 0' TERM
  sleep 2 & s=$!
  wait "$s"
  kill "$co" "$ce" ) < /dev/null > /dev/null 2>&1 & g=$!
wait "$co" 2> /dev/null
wait "$ce" 2> /dev/null
kill "$g" 2> /dev/null
wait "$g" 2> /dev/null
echo "$r $late $(kept_ "$d/out") $(kept_ "$d/err")" > "$d/end.new" && mv "$d/end.new" "$d/end"
report 2> /dev/null
exit 0
