//! Where the server that uses a data directory is to be reached, for its owner's other programs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DataDir, Error};

const FILE: &str = "server.json";

/// The file `server.json`, as long as the server runs.
#[derive(Debug)]
pub struct Announcement(PathBuf);

/// What stands in it.
#[derive(Serialize)]
struct Document {
    url: String,
    pid: u32,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    host_id: Uuid,
}

impl Announcement {
    /// Says that a server listens at this address. The file is for its owner only, and is seen whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn make(data_dir: &DataDir, scheme: &str, address: SocketAddr) -> Result<Self, Error> {
        let path = data_dir.path().join(FILE);
        let document = Document {
            url: format!("{scheme}://{}", reachable(address)),
            pid: std::process::id(),
            started_at: OffsetDateTime::now_utc(),
            host_id: data_dir.host_id(),
        };
        let unfinished = path.with_extension("json.new");
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(serde_json::to_string(&document)?.as_bytes())?;
            fs::rename(&unfinished, &path)
        })();
        written.map_err(Error::io("write", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // One that stays names a process that is gone, which readers see.
        let _ = fs::remove_file(&self.0);
    }
}

/// The address to reach it at from this machine: a server that listens on all of them is on this one, too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
