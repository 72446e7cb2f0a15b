# Removes what was kept of a command.
rm -rf "$d" "$d.lock"
say forgotten
exit 0
