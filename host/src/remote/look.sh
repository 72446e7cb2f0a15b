# What became of a command: `absent` if it never began, `end` with what it came to, `lost` if nobody can say. Waits while
# it goes on.
if [ ! -h "$d.lock" ]; then
    say absent
    exit 0
fi
by=$(readlink "$d.lock")
while [ ! -f "$d/end" ]; do
    if [ "${by#*.}" != "$boot" ] || ! lives_ "${by%%.*}"; then
        [ -f "$d/end" ] && break
        if [ -f "$d/started" ]; then
            o=$(kept_ "$d/out") e=$(kept_ "$d/err")
            say lost 0 0 "$o" "$e"
            outputs_
        else
            rm -rf "$d" "$d.lock"
            say absent
        fi
        exit 0
    fi
    short_pause
done
report
exit 0
