//! Commands that work on files of a server: made here for its operating system, run as any other.

use bytes::Bytes;

use super::command::{Command, InvalidCommand, Program, Shell, check_path, drive_of, invalid};
use super::system::Os;
use super::{Reach, Remote, Target};

/// Sets `p` to the path; `~` is for the server to know.
const UNIX_PATH: &str =
    "case $ELITA_PATH in '~') p=$HOME;; '~/'*) p=$HOME/${ELITA_PATH#??};; *) p=$ELITA_PATH;; esac\n";
/// Sets `$p` to the path. One that begins with `/` is on the drive of the system.
const WINDOWS_PATH: &str = r"$ErrorActionPreference = 'Stop'
$p = $env:ELITA_PATH
if ($p -eq '~') { $p = $HOME } elseif ($p.StartsWith('~/')) { $p = $HOME + '/' + $p.Substring(2) }
elseif ($p.StartsWith('/')) { $p = $env:SystemDrive + $p }
$p = $p.Replace('/', '\')
";
/// Reads standard input, which is Base64, into `$bytes`.
const WINDOWS_INPUT: &str = "$bytes = [Convert]::FromBase64String([Console]::In.ReadToEnd())\n";

/// Makes commands that work on files of a server.
pub struct Files<'r> {
    remote: &'r Remote,
    target: &'r Target,
    os: Os,
}

/// A piece of a file that is sent in pieces.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where in the file it begins. Pieces come one after the other.
    pub offset: u64,
    /// What it has, at most 4 MiB.
    pub bytes: Bytes,
}

impl Piece {
    /// How long a piece is at most, in bytes.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;
}

impl Remote {
    /// Commands that work on files of a server with this operating system.
    pub fn files<'r>(&'r self, target: &'r Target, os: Os) -> Files<'r> {
        Files { remote: self, target, os }
    }
}

impl Files<'_> {
    /// How long a piece of a file is at most, in bytes.
    pub fn piece_bytes(&self) -> u64 {
        let through_salt = matches!(self.target.reach, Reach::Salt { .. }) && !self.remote.hands_over();
        match self.os {
            Os::Unix if !through_salt => Piece::MAX_BYTES as u64,
            // It goes through a Salt master, as text.
            Os::Unix | Os::Windows => 256 * 1024,
        }
    }

    /// Makes a directory, and those that it is in. Nothing happens if it is there.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn create_directory(&self, path: &str) -> Result<Command, InvalidCommand> {
        self.on(path, r#"mkdir -p -- "$p""#, "[void] [IO.Directory]::CreateDirectory($p)")
    }

    /// Removes a directory with all that is in it. Nothing happens if there is none.
    ///
    /// # Errors
    /// If the path is not one. A link, and what is not a directory, is refused on the server.
    pub fn delete_directory(&self, path: &str) -> Result<Command, InvalidCommand> {
        let unix = r#"if [ -h "$p" ] || { [ -e "$p" ] && [ ! -d "$p" ]; }; then
    echo "$p is not a directory" >&2
    exit 1
fi
rm -rf -- "$p""#;
        let windows = r#"if (Test-Path -LiteralPath $p) {
    $item = Get-Item -LiteralPath $p -Force
    if (-not $item.PSIsContainer -or ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)) {
        [Console]::Error.WriteLine("$p is not a directory")
        exit 1
    }
    # `Remove-Item` follows junctions that are in it, and .NET does not remove what is read-only, such as objects of git.
    $env:ELITA_PATH = $p
    & "$env:SystemRoot\System32\cmd.exe" /d /v:off /c 'rd /s /q "%ELITA_PATH%"'
    if (Test-Path -LiteralPath $p) {
        [Console]::Error.WriteLine("$p cannot be removed")
        exit 1
    }
}"#;
        self.on(path, unix, windows)
    }

    /// Removes a file. Nothing happens if there is none.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn delete_file(&self, path: &str) -> Result<Command, InvalidCommand> {
        let windows = "if ([IO.File]::Exists($p)) { [IO.File]::SetAttributes($p, 'Normal') }\n\
                       if (Test-Path -LiteralPath $p) { [IO.File]::Delete($p) }";
        self.on(path, r#"rm -f -- "$p""#, windows)
    }

    /// Makes an empty file, or gives one that is there the current time.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn touch(&self, path: &str) -> Result<Command, InvalidCommand> {
        let windows = "if (Test-Path -LiteralPath $p) { (Get-Item -LiteralPath $p -Force).LastWriteTime = Get-Date }\n\
                       else { [IO.File]::Open($p, 'CreateNew').Dispose() }";
        self.on(path, r#"touch -- "$p""#, windows)
    }

    /// Adds to the end of a file, which is made if there is none.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn append(&self, path: &str, bytes: &Bytes) -> Result<Command, InvalidCommand> {
        let windows = format!(
            "{WINDOWS_INPUT}$file = [IO.File]::Open($p, 'Append')\n\
             try {{ $file.Write($bytes, 0, $bytes.Length) }} finally {{ $file.Dispose() }}"
        );
        Ok(self.on(path, r#"cat >> "$p""#, &windows)?.reading(self.input(bytes)))
    }

    /// Writes a piece of a file that is to be at the path, beside it, under a name that is `transfer`'s own. The first
    /// piece, which may be empty, makes it.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn send(&self, path: &str, transfer: &str, piece: &Piece) -> Result<Command, InvalidCommand> {
        let unix = r#"umask 077
new=$p.elita-$ELITA_TRANSFER
if [ "$ELITA_OFFSET" -eq 0 ]; then ( set -C; : > "$new" ) || exit 1; fi
if [ "$(($(wc -c < "$new")))" -ne "$ELITA_OFFSET" ]; then
    echo "a piece for $p came out of turn" >&2
    exit 1
fi
cat >> "$new""#;
        let windows = format!(
            r#"{WINDOWS_INPUT}$new = $p + '.elita-' + $env:ELITA_TRANSFER
$file = [IO.File]::Open($new, $(if ($env:ELITA_OFFSET -eq '0') {{ 'CreateNew' }} else {{ 'Append' }}))
try {{
    if ($file.Length -ne [long]$env:ELITA_OFFSET) {{
        [Console]::Error.WriteLine("a piece for $p came out of turn")
        exit 1
    }}
    $file.Write($bytes, 0, $bytes.Length)
}} finally {{ $file.Dispose() }}"#
        );
        let Piece { offset, bytes } = piece;
        let command = self.on(path, unix, &windows)?.reading(self.input(bytes));
        Ok(command.with("ELITA_TRANSFER", transfer).with("ELITA_OFFSET", offset.to_string()))
    }

    /// Puts a file in its place whose pieces were sent, if it has this SHA-256, 64 hexadecimal digits: it has its mode
    /// from the beginning, and is there as a whole or not at all. A file that is there is replaced. Windows knows no
    /// mode.
    ///
    /// # Errors
    /// If the path is not one, or the mode has more than permissions.
    pub fn put(&self, path: &str, transfer: &str, sha256: &str, mode: u32) -> Result<Command, InvalidCommand> {
        check_mode(mode)?;
        let unix = r#"new=$p.elita-$ELITA_TRANSFER
trap 'rm -f -- "$new"' EXIT
if [ -d "$p" ]; then
    echo "$p is a directory" >&2
    exit 1
fi
sum=$(sha256sum < "$new" 2>/dev/null || shasum -a 256 < "$new" 2>/dev/null || openssl dgst -sha256 -r < "$new" 2>/dev/null)
if [ -z "$sum" ]; then
    echo "the server has no program for SHA-256: sha256sum, shasum or openssl is needed" >&2
    exit 1
fi
if [ "${sum%% *}" != "$ELITA_SHA256" ]; then
    echo "what arrived for $p is not what was sent" >&2
    exit 1
fi
chmod "$ELITA_MODE" "$new" && mv -f -- "$new" "$p""#;
        let windows = r#"$new = $p + '.elita-' + $env:ELITA_TRANSFER
try {
    if ((Get-FileHash -LiteralPath $new -Algorithm SHA256).Hash -ne $env:ELITA_SHA256) {
        [Console]::Error.WriteLine("what arrived for $p is not what was sent")
        exit 1
    }
    if (Test-Path -LiteralPath $p) { [IO.File]::Replace($new, $p, [NullString]::Value) } else { [IO.File]::Move($new, $p) }
} finally { [IO.File]::Delete($new) }"#;
        let command = self.on(path, unix, windows)?.with("ELITA_TRANSFER", transfer);
        Ok(command.with("ELITA_SHA256", sha256).with("ELITA_MODE", format!("{mode:o}")))
    }

    /// Removes what was sent of a file that is not put in its place.
    ///
    /// # Errors
    /// If the path is not one.
    pub fn discard(&self, path: &str, transfer: &str) -> Result<Command, InvalidCommand> {
        let windows = "[IO.File]::Delete($p + '.elita-' + $env:ELITA_TRANSFER)";
        Ok(self.on(path, r#"rm -f -- "$p.elita-$ELITA_TRANSFER""#, windows)?.with("ELITA_TRANSFER", transfer))
    }

    /// A script in which `$p` is the path, for a shell or for PowerShell.
    pub(super) fn on(&self, path: &str, unix: &str, windows: &str) -> Result<Command, InvalidCommand> {
        check_file(path)?;
        let program = match self.os {
            Os::Unix if drive_of(path).is_some() => {
                return invalid("path", "the server does not run Windows, and its paths begin with `/` or `~/`");
            }
            Os::Unix => Program::Script { script: format!("{UNIX_PATH}{unix}\n"), shell: Shell::Sh },
            Os::Windows => {
                check_windows_path(path)?;
                Program::Script { script: format!("{WINDOWS_PATH}{windows}\n"), shell: Shell::Powershell }
            }
        };
        Ok(Command::of(program).with("ELITA_PATH", self.remote.path(self.target, path)))
    }

    /// Standard input that arrives as it is: for PowerShell, which reads text, as Base64.
    fn input(&self, bytes: &Bytes) -> Bytes {
        match self.os {
            Os::Unix => bytes.clone(),
            Os::Windows => base64(bytes).into(),
        }
    }
}

/// Makes sure that a path is that of a file or a directory, and not of all there is.
///
/// # Errors
/// What is wrong with it.
pub fn check_file(path: &str) -> Result<(), InvalidCommand> {
    check_path("path", path)?;
    let below = drive_of(path).map_or(path, |drive| &path[drive.len()..]).trim_start_matches('~');
    if below.split(['/', '\\']).all(|name| name.is_empty() || name == ".") {
        return invalid("path", "a path is not the root, nor a home directory");
    }
    Ok(())
}

/// Makes sure that Windows takes a path for what it says: it leaves dots and spaces away at the end of a name, which may leave
/// nothing, and others stand for patterns or for something else than a file.
fn check_windows_path(path: &str) -> Result<(), InvalidCommand> {
    let below = drive_of(path).map_or(path, |drive| &path[drive.len()..]);
    let is_bad = |name: &str| name != "." && name.ends_with(['.', ' ']);
    let is_other = |c: char| c.is_control() || "<>:\"|?*".contains(c);
    if below.split(['/', '\\']).any(is_bad) || below.contains(is_other) {
        let rule =
            "the server runs Windows, where no name ends with a dot or a space, or has one of `< > : \" | ? *` in it";
        return invalid("path", rule);
    }
    Ok(())
}

/// Makes sure that a mode is one.
///
/// # Errors
/// If it has more than permissions.
pub fn check_mode(mode: u32) -> Result<(), InvalidCommand> {
    if mode > 0o7777 {
        return invalid("mode", "a mode is at most 07777");
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
