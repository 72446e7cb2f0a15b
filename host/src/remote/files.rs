//! Commands that work on files of a server: made here, run as any other.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::command::{Command, InvalidCommand, check_path, invalid};
use super::{Remote, Target};

/// Makes commands that work on files of a server.
pub struct Files<'r> {
    remote: &'r Remote,
    target: &'r Target,
}

impl Remote {
    /// Commands that work on files of a server.
    pub fn files<'r>(&'r self, target: &'r Target) -> Files<'r> {
        Files { remote: self, target }
    }
}

impl Files<'_> {
    /// Makes a directory, and those that it is in. Nothing happens if it is there.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn create_directory(&self, path: &str) -> Result<Command, InvalidCommand> {
        self.on(path, r#"mkdir -p -- "$p""#)
    }

    /// Removes a directory with all that is in it. Nothing happens if there is none.
    ///
    /// # Errors
    /// If the path is not one, or what is there is no directory.
    pub fn delete_directory(&self, path: &str) -> Result<Command, InvalidCommand> {
        let script = r#"if [ -h "$p" ] || { [ -e "$p" ] && [ ! -d "$p" ]; }; then
    echo "$p is not a directory" >&2
    exit 1
fi
rm -rf -- "$p""#;
        self.on(path, script)
    }

    /// Removes a file. Nothing happens if there is none.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn delete_file(&self, path: &str) -> Result<Command, InvalidCommand> {
        self.on(path, r#"rm -f -- "$p""#)
    }

    /// Makes an empty file, or gives one that is there the current time.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn touch(&self, path: &str) -> Result<Command, InvalidCommand> {
        self.on(path, r#"touch -- "$p""#)
    }

    /// Adds to the end of a file, which is made if there is none.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn append(&self, path: &str, bytes: impl Into<Bytes>) -> Result<Command, InvalidCommand> {
        Ok(self.on(path, r#"cat >> "$p""#)?.reading(bytes))
    }

    /// Writes a file, at most 8 MiB, in the place of one that is there: it has its mode from the beginning, and is
    /// there as a whole or not at all. Its SHA-256 is compared on the server, if there is a program for that.
    ///
    /// # Errors
    /// If the path is not one, or the mode has more than permissions.
    pub fn write(&self, path: &str, bytes: impl Into<Bytes>, mode: u32) -> Result<Command, InvalidCommand> {
        if mode > 0o7777 {
            return invalid("mode", "a mode is at most 07777");
        }
        let bytes = bytes.into();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let script = format!(
            r#"umask 077
new=$p.elita-$$
trap 'rm -f -- "$new"' EXIT
cat > "$new" || exit
sum=$(sha256sum "$new" 2>/dev/null || shasum -a 256 "$new" 2>/dev/null || echo "{digest} ")
if [ "${{sum%% *}}" != {digest} ]; then
    echo "what arrived for $p is not what was sent" >&2
    exit 1
fi
chmod {mode:o} "$new" && mv -f -- "$new" "$p""#
        );
        Ok(self.on(path, &script)?.reading(bytes))
    }

    /// A script in which `$p` is the path.
    fn on(&self, path: &str, script: &str) -> Result<Command, InvalidCommand> {
        check_path("path", path)?;
        let is_root = |path: &str| path.trim_start_matches('~').split('/').all(|name| name.is_empty() || name == ".");
        if is_root(path) {
            return invalid("path", "a path is not the root, nor a home directory");
        }
        // `~` is for the server to know.
        let before = "case $ELITA_PATH in '~/'*) p=$HOME/${ELITA_PATH#??};; *) p=$ELITA_PATH;; esac\n";
        let command = Command::script(format!("{before}{script}\n"));
        Ok(command.with("ELITA_PATH", self.remote.path(self.target, path)))
    }
}
