# Writes the input, which is not in what the master sees: it is fetched from `url`, where it is once. The URL is in no
# command line either. Where it fails, the reason is in `$d/why`.
input_() {
    if command -v curl > /dev/null 2>&1; then
        printf 'url = "%s"\n' "$url" | curl -q -sS -f -X POST --max-time 50 -D "$d/head" -K - 2> "$d/said"
    elif command -v wget > /dev/null 2>&1; then
        : > "$d/settings"
        printf '%s\n' "$url" | WGETRC="$d/settings" wget -q -S -O - --post-data= --tries=1 --timeout=50 --max-redirect=0 -i - 2> "$d/said"
        cp "$d/said" "$d/head"
    else
        echo 'its input has to be fetched, and it has neither curl nor wget' > "$d/why"
        return
    fi
    # A proxy may have answered before.
    case $(sed -n 's|^ *HTTP/[0-9.]* \([0-9][0-9]*\).*|\1|p' "$d/head" 2> /dev/null | tail -n 1) in
        200) ;;
        410) echo used-up > "$d/why" ;;
        404) echo 'the URL of its input is not valid any more: it is for a minute' > "$d/why" ;;
        *) printf 'its input could not be fetched: %s\n' "$(tail -n 1 "$d/said" | cut -c 1-300)" > "$d/why" ;;
    esac
    rm -f "$d/head" "$d/said" "$d/settings"
}
