# Makes the working copy $1 for $2, of branch $3 of the repository at $4. $5 is `bytes` where what comes is not to be
# changed, and `git` where line endings are up to git. $6 says what standard input is: `nothing`, a username and a
# `token` for HTTP, as they stand in a URL, or a private `key` for SSH, after the lines of known hosts, under the name
# `elita`, and an empty line. Once it is there, it is left as it is,
# with new credentials. Prints `head ID` or `empty`.
path=$1 owner=$2 branch=$3 url=$4 contents=$5 credentials=$6
final=$path

has_git
case $path in
    /*/ | /) fail path "$path is not a directory for a working copy" ;;
    /*) ;;
    *) fail path "$path is not an absolute path" ;;
esac
case $credentials$path in
    key*[\"\$]*) fail path "a path with a double quote or a dollar sign cannot be used with a repository that is reached by SSH: $path" ;;
esac
parent=${path%/*}
[ -d "${parent:-/}" ] || fail no-parent "the directory ${parent:-/} does not exist on this server; create it first"
alone

if [ -e "$path" ] || [ -h "$path" ]; then
    if [ "$(owner_of "$path")" != "$owner" ]; then
        remove_empty "$path" ||
            fail not-ours "$path exists, and was not made for this gitdeploy; move it away, or choose another path"
    fi
fi
if [ ! -e "$path" ]; then
    path=$final.elita-new
    # Only what an earlier try has left has this name and this owner.
    if [ "$(owner_of "$path")" = "$owner" ]; then remove "$path"; fi
    remove_empty "$path" || fail not-ours "$path exists, and was not made for this gitdeploy"
    { mkdir "$path" "$path/.git" "$path/.git/elita" && printf '%s' "$owner" >"$path/.git/elita/owner.new" &&
        mv "$path/.git/elita/owner.new" "$path/.git/elita/owner"; } 2>/dev/null || fail init "$path cannot be written"
    said=$(git -c init.templateDir= init -q "$path" 2>&1) && mkdir -p "$path/.git/info" || fail init "$path cannot be made: $said"
fi

ELITA_GIT_FILES=$path/.git/elita
files=$path/.git/elita
(
    umask 077
    mkdir -p "$files" && chmod 700 "$files" || exit 1
    rm -f "$files/credentials" "$files/key" "$files/known_hosts"
    case $credentials in
        token)
            IFS= read -r token || [ -n "$token" ] || exit 1
            rest=${url#*://}
            printf '%s://%s@%s\n' "${url%%://*}" "$token" "${rest%%/*}" >"$files/credentials"
            ;;
        key)
            while IFS= read -r line && [ -n "$line" ]; do printf '%s\n' "$line"; done >"$files/known_hosts"
            cat >"$files/key"
            ;;
    esac
) || fail credentials "the credentials cannot be written below $final"

# How ssh finds the key, while the working copy has this name.
ssh_config() {
    named=$(printf '%s' "$1" | sed 's/%/%%/g')
    # In a file of its own user, as the others.
    (umask 077 && : >"$files/ssh_config")
    {
        printf 'Host *\n  BatchMode yes\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n  IdentityAgent none\n'
        printf '  ConnectTimeout 10\n  ServerAliveInterval 10\n  ServerAliveCountMax 3\n  ForwardAgent no\n'
        printf '  HostKeyAlias elita\n  UpdateHostKeys no\n'
        printf '  UserKnownHostsFile "%s/.git/elita/known_hosts"\n' "$named"
        printf '  GlobalKnownHostsFile /dev/null\n'
        if [ "$credentials" = key ]; then printf '  IdentityFile "%s/.git/elita/key"\n' "$named"; fi
    } >"$files/ssh_config" || fail credentials "the credentials cannot be written below $final"
}
ssh_config "$path"

copy config remote.origin.url "$url" && copy config remote.origin.pushurl "no push from servers" &&
    copy config --replace-all remote.origin.fetch "+refs/heads/$branch:refs/remotes/origin/$branch" &&
    copy config "branch.$branch.remote" origin && copy config "branch.$branch.merge" "refs/heads/$branch" &&
    copy config user.name Elita && copy config user.email elita@localhost || fail config "$path cannot be configured"
case $contents in
    git) text= autocrlf=true ;;
    *) text='-text ' autocrlf=false ;;
esac
printf '* %s-ident -filter -working-tree-encoding\n' "$text" >"$path/.git/info/attributes" &&
    copy config core.autocrlf "$autocrlf" || fail config "$path cannot be configured"

# What is there already stays as it is: pulls bring it forward.
if [ "$path" = "$final" ]; then
    said=$(copy ls-remote -q --heads origin "refs/heads/$branch" 2>&1) || fail fetch "the repository cannot be read: $said"
else
    copy symbolic-ref HEAD "refs/heads/$branch" || fail init "$path cannot be written"
    said=$(copy ls-remote -q --heads origin "refs/heads/$branch" 2>&1) || fail fetch "the repository cannot be read: $said"
    if [ -n "$said" ]; then
        said=$(copy fetch -q --no-tags origin "+refs/heads/$branch:refs/remotes/origin/$branch" 2>&1) || fail fetch "$branch cannot be fetched: $said"
        said=$(copy reset --hard -q "refs/remotes/origin/$branch" 2>&1) || fail checkout "$branch cannot be checked out: $said"
    fi
    ssh_config "$final"
    mv "$path" "$final" || fail init "$final cannot be given its name"
    path=$final
    ELITA_GIT_FILES=$path/.git/elita
fi
if copy rev-parse -q --verify HEAD >/dev/null; then printf 'head %s\n' "$(copy rev-parse HEAD)"; else echo empty; fi
