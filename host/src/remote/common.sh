d=$base/$id
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown)
say() { printf '%s %s\n' "$n" "$*"; }
some_() { [ "$1" -eq 0 ] || head -c "$1" "$2"; }
# How many bytes of an output are shown: one more than its reader wants, if there are more.
kept_() {
    size=$(($(wc -c < "$1")))
    if [ "$size" -gt "$cap" ]; then echo "$cap"; else echo "$size"; fi
}
# Whether a process lives. One that has ended, and that nobody has asked for, does not.
lives_() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
# What a command that has ended came to: its exit code, whether it was late, and its output, by lengths.
report() {
    read -r r late o e < "$d/end"
    say end "$r" "$late" "$o" "$e"
    outputs_
}
outputs_() {
    some_ "$o" "$d/out"
    [ -z "$apart" ] || say err
    some_ "$e" "$d/err"
    say done
}
short_pause() { sleep 0.1 2>/dev/null || sleep 1; }
# Ends the whole process group `p`: at first by asking.
end_group() {
    kill -TERM "-$p" 2>/dev/null
    i=0
    while [ "$i" -lt "$((grace * 10))" ] && kill -0 "-$p" 2>/dev/null; do
        short_pause
        i=$((i + 1))
    done
    kill -KILL "-$p" 2>/dev/null
}
