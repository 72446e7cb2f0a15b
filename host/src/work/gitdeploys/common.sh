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

has_git() {
    command -v git >/dev/null 2>&1 || fail no-git 'git is not installed on this server, or not on the PATH of the user that Elita logs in as'
}
