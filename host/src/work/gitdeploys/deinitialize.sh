# Removes the working copy $1 of $2, with its credentials. To remove it again changes nothing.
path=$1 owner=$2
alone
if [ "$(owner_of "$path.elita-new")" = "$owner" ]; then remove "$path.elita-new"; fi
remove_empty "$path.elita-new"
if [ "$(owner_of "$path")" = "$owner" ]; then remove "$path"; fi
remove_empty "$path" || fail not-ours "$path was not made for this gitdeploy, and stays"
echo removed
