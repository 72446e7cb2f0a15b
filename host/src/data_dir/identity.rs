//! Which directory a data directory is, and on which machine. This tells a copy from the original: without it, a copy
//! would act as the host that it was copied from.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ring::digest::{SHA256, digest};
use uuid::Uuid;

/// Where systemd and D-Bus keep the id of the machine.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// What is new whenever the machine is started.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Which directory this is and on which machine, as it is recorded in the directory itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct DirectoryIdentity {
    /// A hash of the machine's id, because the id itself is confidential. `None`: the machine has no id.
    machine: Option<String>,
    /// The directory's, which stays when it is renamed and changes when it is copied.
    inode: u64,
}

impl DirectoryIdentity {
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let id = MACHINE_IDS.iter().find_map(|file| {
            let id = fs::read_to_string(file).ok()?;
            let id = id.trim();
            // As in images of machines that have not been started yet.
            (!id.is_empty() && id != "uninitialized").then(|| id.to_owned())
        });
        Ok(Self { machine: id.map(|id| short_hash(&["machine", &id])), inode: fs::metadata(data_dir)?.ino() })
    }

    /// Reads what [`DirectoryIdentity::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
        Some(Self { machine: value("machine").map(str::to_owned), inode: value("inode")?.parse().ok()? })
    }

    pub(super) fn text(&self) -> String {
        let machine = self.machine.iter().map(|machine| format!("machine {machine}\n"));
        machine.chain([format!("inode {}\n", self.inode)]).collect()
    }

    /// Whether the directory has been copied or moved from there to here, as far as both are known.
    pub(super) fn differs_from(&self, here: &Self) -> bool {
        let other_machine = self.machine.iter().zip(&here.machine).any(|(there, here)| there != here);
        other_machine || self.inode != here.inode
    }

    /// An id for what is here and was that host elsewhere: always the same.
    pub(super) fn host_id(&self, former: Uuid) -> Uuid {
        let here = [former.to_string(), self.text()].concat();
        let hash = digest(&SHA256, here.as_bytes());
        let bytes = hash.as_ref().first_chunk().copied().expect("a SHA-256 has 32 bytes");
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The same while this machine is up: of two servers that say the same one has the lock of the directory, and the
    /// other one is over.
    pub(super) fn while_up(&self) -> String {
        match fs::read_to_string(BOOT_ID) {
            Ok(boot) => short_hash(&[&self.text(), boot.trim()]),
            // Then nobody can be sure.
            Err(_) => String::new(),
        }
    }
}

fn short_hash(parts: &[&str]) -> String {
    let hash = digest(&SHA256, parts.join("\n").as_bytes());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
