# Removes the working copy $1 of $2, with its credentials. To remove it again changes nothing.
path=$1 owner=$2
remove() {
    # The credentials first, so that they are gone in any case, and the owner's name last.
    rm -f "$1/.git/elita/key" "$1/.git/elita/credentials" "$1/.git/elita/known_hosts"
    find "$1" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} + &&
        find "$1/.git" -mindepth 1 -maxdepth 1 ! -name elita -exec rm -rf {} + &&
        rm -rf "$1" || fail remove "$1 cannot be removed"
}
if [ "$(owner_of "$path.elita-new")" = "$owner" ]; then remove "$path.elita-new"; fi
if [ -e "$path" ] || [ -h "$path" ]; then
    [ "$(owner_of "$path")" = "$owner" ] || fail not-ours "$path was not made for this gitdeploy, and stays"
    remove "$path"
fi
echo removed
