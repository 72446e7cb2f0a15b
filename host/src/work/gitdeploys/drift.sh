# Says what the working copy $1, which $2 owns, has beside the commit $3: `head ID`, `behind` where that commit is not part of
# it, a line `local ID SUBJECT` for each commit of the server's own, and a line `changed PATH` for each uncommitted change of a
# tracked file; of both at most 21. Changes nothing.
path=$1 owner=$2 commit=$3

has_git
[ -d "$path/.git" ] || fail missing "there is no working copy at $path; initialize the gitdeploy on this server again"
[ "$(owner_of "$path")" = "$owner" ] || fail not-ours "the directory $path was not initialized for this gitdeploy"
ELITA_GIT_FILES=$path/.git/elita

head=$(copy rev-parse -q --verify HEAD) || fail missing "the working copy at $path has no commit"
printf 'head %s\n' "$head"
if copy merge-base --is-ancestor "$commit" HEAD 2>/dev/null; then
    copy log --no-merges -n 21 --format='local %H %s' "$commit..HEAD" | cut -c1-200
else
    echo behind
fi
copy --no-optional-locks status --porcelain --untracked-files=no --ignore-submodules=all >/dev/null 2>&1 ||
    fail unreadable "git cannot say what has changed in $path"
copy --no-optional-locks status --porcelain --untracked-files=no --ignore-submodules=all |
    head -n 21 | cut -c4-503 | while IFS= read -r changed; do printf 'changed %s\n' "$changed"; done
