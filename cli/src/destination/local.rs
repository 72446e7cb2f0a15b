//! A server on this machine, which says in its data directory where it is.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::{Kind, Target, Token, server_url};
use crate::config::{is_private_folder, refuse_readable};
use crate::http::is_loopback;

/// What a running server says of itself in `server.json`.
#[derive(Deserialize)]
struct Announcement {
    url: String,
    pid: u32,
}

/// A server of this user on this machine.
pub(crate) struct Local {
    pub(crate) url: Url,
    token: Option<String>,
    pub(crate) data_dir: PathBuf,
}

impl Local {
    /// Looks for one: in `$ELITA_DATA_DIR`, or in `elita-data` here and in the folders above, up to the home folder.
    pub(crate) fn find() -> Option<Self> {
        if let Some(named) = std::env::var_os("ELITA_DATA_DIR") {
            return Self::in_folder(Path::new(&named));
        }
        let here = std::env::current_dir().ok()?;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        for folder in here.ancestors() {
            if let Some(local) = Self::in_folder(&folder.join("elita-data")) {
                return Some(local);
            }
            if home.as_deref() == Some(folder) {
                break;
            }
        }
        None
    }

    /// Only what this user alone can have written is believed, and only of a server that runs on this machine.
    fn in_folder(folder: &Path) -> Option<Self> {
        let file = folder.join("server.json");
        if !is_private_folder(folder) || refuse_readable(&file).is_err() {
            return None;
        }
        let Announcement { url, pid } = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        let url = server_url(&url, false).ok().filter(is_loopback)?;
        let token_file = folder.join("token");
        let token = refuse_readable(&token_file).ok().and_then(|()| std::fs::read_to_string(&token_file).ok());
        let data_dir = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        runs(pid).then_some(Self { url, token, data_dir })
    }

    pub(crate) fn target(self) -> Target {
        let token = self.token.map(|token| {
            Token::new(Kind::Local, &token, format!("token in {}", self.data_dir.join("token").display()))
        });
        Target { data_dir: Some(self.data_dir), ..Target::bare(self.url, token) }
    }
}

/// Whether there is such a process: a server that was killed leaves its file.
fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// Whether this is the first command of this terminal session to talk to that server.
pub(crate) fn say_once(url: &Url) -> bool {
    let Ok(session) = rustix::process::getsid(None) else { return false };
    let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).or_else(cache) else { return false };
    let folder = folder.join("elita");
    let marker = folder.join(format!("session-{}-{}", session.as_raw_nonzero(), url.port().unwrap_or_default()));
    if marker.exists() || std::fs::create_dir_all(&folder).is_err() {
        return false;
    }
    std::fs::write(&marker, "").is_ok()
}

fn cache() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
}
