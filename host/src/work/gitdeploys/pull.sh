# Brings the working copy $1, which $2 owns, to branch $3 with the commit $4 in it. Conflicts are settled for $5 (`ours`
# is this server); $6 is `yes` where lines that differ in white space only are the same; $7 is the commit that was
# pulled last, or nothing; the job began $8 seconds ago. Prints `head ID`.
path=$1 owner=$2 branch=$3 commit=$4 favor=$5 ignore_space=$6 before=$7 began=$8
remote=refs/remotes/origin/$branch

has_git
alone
[ -d "$path/.git" ] || fail missing "there is no working copy at $path; initialize the gitdeploy on this server again"
[ "$(owner_of "$path")" = "$owner" ] || fail not-ours "the directory $path was not initialized for this gitdeploy"
ELITA_GIT_FILES=$path/.git/elita

# 1  Nothing is left open, and the branch is checked out.
lock=$path/.git/index.lock
# The git that has this working copy as its directory.
running() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/cwd" 2>/dev/null) in
            "$path" | "$path"/*) case $(cat "$process/comm" 2>/dev/null) in git*) echo "${process#/proc/}" ;; esac ;;
        esac
    done | head -n 1
}
tries=0
began=$(($(date +%s) - began))
while [ -e "$lock" ]; do
    made=$(stat -c %Y "$lock" 2>/dev/null || stat -f %m "$lock" 2>/dev/null)
    # One that was there before the job began goes, unless some git has it. Processes are looked at now and then only.
    if [ -n "$made" ] && [ "$made" -lt "$began" ] && [ $((tries % 10)) = 0 ] && [ -z "$(running)" ]; then
        rm -f "$lock" || fail locked "$lock is left over, and cannot be removed"
        break
    fi
    if [ "$tries" -ge 20 ] && [ -e "$lock" ]; then
        git=$(running)
        age="exists${made:+ since $(($(date +%s) - made)) seconds}"
        [ -z "$git" ] || fail locked "$lock $age, and git runs there as process $git; wait until it has ended"
        fail locked "$lock $age, and no git is seen there; if none works there, ask for this again: a job removes one that is older than itself"
    fi
    sleep 0.5 2>/dev/null || sleep 1
    tries=$((tries + 1))
done
if [ -d "$path/.git/rebase-merge" ] || [ -d "$path/.git/rebase-apply" ]; then
    copy rebase --abort >/dev/null 2>&1 || copy am --abort >/dev/null 2>&1
    [ ! -d "$path/.git/rebase-merge" ] && [ ! -d "$path/.git/rebase-apply" ] ||
        fail rebasing "a rebase was left open in $path, and cannot be undone; end it there"
fi
head=$(copy symbolic-ref -q HEAD) || fail other-branch "no branch is checked out in $path; check $branch out there"
[ "$head" = "refs/heads/$branch" ] ||
    fail other-branch "$path has ${head#refs/heads/} checked out, and not $branch; check $branch out there"

# 2  Uncommitted changes of tracked files go; untracked files stay. What a pull that broke off has written was not there before.
drop_changes() {
    if [ -s "$begun" ] && copy cat-file -e "$(cat "$begun")^{commit}"; then
        copy read-tree "$(cat "$begun")" || return 1
        # Files that are as they should be are not written again: there may be no room.
        copy update-index -q --refresh
    fi
    copy reset --hard -q && rm -f "$begun"
}
begun=$path/.git/elita/begun
said=$(drop_changes 2>&1) || fail reset "the changes in $path cannot be dropped: $said"

# 3
said=$(copy fetch -q --no-tags --no-recurse-submodules origin "+refs/heads/$branch:$remote" 2>&1) ||
    fail fetch "$branch cannot be fetched: $said"
copy rev-parse -q --verify "$remote^{commit}" >/dev/null || fail fetch "the repository has no branch $branch"
[ -n "$commit" ] || commit=$(copy rev-parse "$remote")
copy merge-base --is-ancestor "$commit" "$remote" 2>/dev/null ||
    fail fetch "the branch $branch of the repository does not have the commit $commit; was it pushed?"

# 4  Nothing is in the way, and no abandoned commit would come back.
if [ -n "$before" ] && copy cat-file -e "$before^{commit}" 2>/dev/null; then
    copy merge-base --is-ancestor "$before" "$remote" ||
        fail rewritten "the history of $branch was rewritten: it no longer has $before, which was pulled here before. Deinitialize the gitdeploy on this server, and initialize it again"
fi
if copy rev-parse -q --verify HEAD >/dev/null; then
    incoming() { copy diff-tree -r --name-only --no-renames --diff-filter=AT HEAD "$remote"; }
else
    incoming() { copy ls-tree -r --name-only --full-tree "$remote"; }
fi
# git quotes names with other bytes than printable ASCII, each byte by itself: without the quotes around them, what is below
# a directory begins with its name. A repository of its own within the working copy is listed with a `/` behind it.
in_the_way=$(
    { incoming && echo && copy ls-files -o; } | awk '
        !others && $0 == "" { others = 1; next }
        /^"/ { $0 = substr($0, 2, length($0) - 2) }
        !others { comes[$0] = 1; path = $0; while (sub(/\/[^\/]*$/, "", path)) below[path] = 1; next }
        { path = $0; sub(/\/$/, "", path) }
        (path in comes) || (path in below) { print; exit }
        { while (sub(/\/[^\/]*$/, "", path)) if (path in comes) { print; exit } }'
) || fail compare "what is in $path cannot be compared with what comes"
if [ -n "$in_the_way" ]; then
    # As people read it.
    in_the_way=$(printf %b "$(printf '%s' "$in_the_way" | sed 's/\\\([0-3][0-7][0-7]\)/\\0\1/g; s/\\"/"/g')")
    fail in-the-way "the file $in_the_way in $path is not git's, and a file of the build would replace it; move it away"
fi

# 5  6
copy rev-parse "$remote" >"$begun" || fail checkout "$begun cannot be written"
if copy rev-parse -q --verify HEAD >/dev/null; then
    set -- -X "$favor" -X patience
    [ "$ignore_space" != yes ] || set -- "$@" -X ignore-all-space
    if ! said=$(copy merge -q --no-edit --no-stat "$@" "$remote" 2>&1); then
        files=$(copy diff --name-only --diff-filter=U 2>/dev/null | head -n 5 | tr '\n' ' ')
        # Where that fails, too, the next pull does it.
        drop_changes >/dev/null 2>&1
        [ -n "$files" ] || ! copy merge-base HEAD "$remote" >/dev/null || fail checkout "$branch cannot be checked out: $said"
        fail conflict "$branch cannot be merged into the commits of this server (${files:-no file}): $said"
    fi
elif ! said=$(copy reset --hard -q "$remote" 2>&1); then
    drop_changes >/dev/null 2>&1
    fail checkout "$branch cannot be checked out: $said"
fi
rm -f "$begun"

# 7
copy merge-base --is-ancestor "$commit" HEAD || fail not-there "the commit $commit did not arrive"
printf 'head %s\n' "$(copy rev-parse HEAD)"
