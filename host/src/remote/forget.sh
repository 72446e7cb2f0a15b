# Removes what was kept of the commands `ids`.
for id in $ids; do rm -rf "$base/$id" "$base/$id.lock"; done
say forgotten
exit 0
