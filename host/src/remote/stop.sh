# Ends a command. One that has not begun never will.
umask 077
mkdir -p "$base" 2>/dev/null
if ln -s "0.stopped" "$d.lock" 2>/dev/null; then
    say absent
    exit 0
fi
i=0
while [ ! -f "$d/pid" ] && [ ! -f "$d/end" ] && [ "$i" -lt 20 ]; do
    short_pause
    i=$((i + 1))
done
if [ ! -f "$d/end" ] && p=$(cat "$d/pid" 2>/dev/null) && [ -n "$p" ]; then end_group; fi
say stopped
exit 0
