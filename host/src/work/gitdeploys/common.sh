# What the scripts for working copies have in common. They run on servers, under any POSIX shell, with git 2.20 or newer.
# What they have to say is one line on standard error: `elita: CODE SENTENCE`. Nothing of it is ever a secret.
set -u
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE
export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS=false GIT_CONFIG_NOSYSTEM=1
export GIT_CONFIG_GLOBAL=/dev/null XDG_CONFIG_HOME=/nonexistent GIT_EDITOR=true GIT_MERGE_AUTOEDIT=no
# The variables below are read by the shells that git starts, so that no path has to be quoted for them.
export ELITA_GIT_FILES=

fail() {
    code=$1
    shift
    printf 'elita: %s %s\n' "$code" "$(printf '%s' "$*" | tr '\n\t' '  ' | cut -c1-2000)" >&2
    exit 9
}

# git in the working copy $path, whatever the account's and the repository's settings say.
copy() {
    git -C "$path" -c safe.directory="$path" -c core.hooksPath=/dev/null -c core.fsmonitor=false \
        -c submodule.recurse=false -c commit.gpgsign=false -c merge.verifySignatures=false -c merge.ff=true \
        -c pull.rebase=false -c rebase.autoStash=false -c merge.autoStash=false -c fetch.recurseSubmodules=false \
        -c user.name=Elita -c user.email=elita@localhost -c core.quotePath=true -c gc.auto=0 -c maintenance.auto=false \
        -c core.sshCommand='ssh -F "$ELITA_GIT_FILES/ssh_config"' -c credential.helper= \
        -c credential.helper='store --file="$ELITA_GIT_FILES/credentials"' -c credential.useHttpPath=false \
        -c protocol.allow=never -c protocol.https.allow=always -c protocol.http.allow=always \
        -c protocol.ssh.allow=always -c protocol.git.allow=always -c protocol.file.allow=always "$@"
}

# Whose working copy $path is: what Elita wrote there when it was initialized.
owner_of() { cat "$1/.git/elita/owner" 2>/dev/null; }

# Removes what is ours at $1. Its owner's name goes last, so that it is known as long as there is something; the credentials
# go first, so that they are gone in any case. Where $1 is a link, it goes with what it leads to.
remove() {
    there=$(cd -P "$1" && pwd) || fail remove "$1 cannot be removed"
    rm -f "$there/.git/elita/key" "$there/.git/elita/credentials" "$there/.git/elita/known_hosts"
    find "$there" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} + &&
        find "$there/.git" -mindepth 1 -maxdepth 1 ! -name elita -exec rm -rf {} + &&
        find "$there/.git/elita" -mindepth 1 ! -name owner -exec rm -rf {} + &&
        rm -f "$there/.git/elita/owner" && remove_empty "$there" && { [ ! -h "$1" ] || rm -f "$1"; } ||
        fail remove "$1 cannot be removed"
}

# Removes the directories in which nothing is any more, or was yet, when making or removing a working copy at $1 broke off.
# False if there is something else.
remove_empty() {
    [ ! -h "$1" ] || return 1
    [ -e "$1" ] || return 0
    rm -f "$1/.git/elita/owner.new" 2>/dev/null
    rmdir "$1/.git/elita" "$1/.git" "$1" 2>/dev/null
    [ ! -e "$1" ]
}

# Has the working copy $path for this script alone, until it has ended with all that it has started: by a lock of the kernel's
# on a file of the home, which stays there. One that works there is waited for, for a while.
alone() {
    lock=$HOME/.elita/locks/$(printf '%s' "$path" | cksum | tr ' ' -)
    { (umask 077 && mkdir -p "$HOME/.elita/locks" && : >>"$lock"); } 2>/dev/null || fail lock "$lock cannot be written"
    exec 8>>"$lock"
    if command -v flock >/dev/null 2>&1; then
        lock_() { flock -n 8; }
    elif command -v perl >/dev/null 2>&1; then
        lock_() { perl -e 'open(my $f, ">&=8") && flock($f, 6) or exit($!{EWOULDBLOCK} ? 1 : 2)'; }
    else
        fail lock 'this server has no program for locks: flock or perl is needed'
    fi
    waited=0
    while :; do
        said=$(lock_ 2>&1) && break
        [ "$?" -eq 1 ] || fail lock "$lock cannot be locked: $said"
        [ "$waited" -lt 20 ] ||
            fail busy "another job works on $path on this server, as process $(cat "$lock"); ask for this again once it has ended"
        sleep 1
        waited=$((waited + 1))
    done
    echo "$$" >"$lock"
}

has_git() {
    command -v git >/dev/null 2>&1 || fail no-git 'git is not installed on this server, or not on the PATH of the user that Elita logs in as'
}
