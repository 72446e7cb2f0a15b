//! The cluster (what Postgres calls its database files): made on first use, and how a server is run on it.
//! Running one is the business of [`super::postmaster`].

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::{info, warn};
use uuid::Uuid;

use super::account::Account;
use super::binaries::{Binaries, Major};
use super::error::Error;
use super::home::Home;
use super::runtime_dir::RuntimeDir;

/// The name of the database, and of the role that owns everything in it.
pub(super) const NAME: &str = "elita";

/// A log that is larger when Elita starts is set aside, in place of the one set aside before.
const LOG_LIMIT_BYTES: u64 = 10 << 20;

/// `initdb`'s options. Whoever can reach the socket is trusted: if Postgres runs as our own user, only we can reach
/// it; if it runs as another user, [`Cluster::admit_only_us`] decides. The C locale sorts by code
/// point and is the same on every machine and after every upgrade of it, so indexes stay valid.
const INITDB_OPTIONS: [&str; 7] = [
    "--auth=trust",
    "--username=elita",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
    "--pgdata",
];

/// The server's settings, beside those that hold a path. They outrank the cluster's `postgresql.conf`, where
/// anything else may be tuned.
const SETTINGS: [&str; 13] = [
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "max_connections=400",
    "shared_buffers=128MB",
    "fsync=on",
    "jit=off",
    "log_destination=stderr",
    "logging_collector=off",
    "log_timezone=UTC",
    "log_checkpoints=off",
    // Failed statements are Elita's to report; constraints that are violated belong to its daily life.
    "log_min_messages=log",
    "lc_messages=C",
];

/// A cluster that is ready to be run, by us alone.
#[derive(Debug)]
pub(super) struct Cluster {
    home: Home,
    binaries: Binaries,
    pub(super) runtime_dir: RuntimeDir,
}

impl Cluster {
    /// Finds the cluster of a data directory, or makes it. Blocks, for seconds when it is made.
    pub(super) fn prepare(data_dir: &Path, host_id: Uuid, former_host_id: Option<Uuid>) -> Result<Self, Error> {
        let home = Home::find(data_dir, host_id, former_host_id)?;
        let cluster = home.cluster();
        let made_by = version(&cluster)?;
        let binaries = Binaries::find(&cluster, made_by)?;
        remove_unfinished(&home.dir);
        if made_by.is_none() {
            info!("making a database in {} with Postgres {}", cluster.display(), binaries.major);
            make(&home, &binaries)?;
        }
        set_large_log_aside(&home.log()).map_err(Error::io("set aside", &home.log()))?;
        let runtime_dir = RuntimeDir::make(data_dir, &home.account)?;
        let cluster = Self { home, binaries, runtime_dir };
        cluster.admit_only_us()?;
        Ok(cluster)
    }

    /// Has the server ask the kernel who connects, where other processes of the user that runs it could, too.
    fn admit_only_us(&self) -> Result<(), Error> {
        if self.home.account.is_us() {
            return Ok(());
        }
        let [rules, users] = self.admission();
        let us = Account::us();
        let write = |path: &Path, text: String| {
            // Whoever runs Postgres reads it, and only we write it.
            let made = fs::write(path, text).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)));
            made.map_err(Error::io("write", path))
        };
        write(&rules, format!("local all {NAME} peer map={NAME}\n"))?;
        write(&users, format!("{NAME} \"{}\" {NAME}\n", us.name))
    }

    /// The files with the rules of who may connect, and with the users of this machine that may.
    fn admission(&self) -> [PathBuf; 2] {
        ["pg_hba.conf", "pg_ident.conf"].map(|name| self.home.dir.join(name))
    }

    /// The directory that Postgres calls its data directory.
    pub(super) fn dir(&self) -> PathBuf {
        self.home.cluster()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.log()
    }

    pub(super) fn account(&self) -> &Account {
        &self.home.account
    }

    pub(super) fn major(&self) -> Major {
        self.binaries.major
    }

    /// The server's command line, to be run by the [`account`](Self::account).
    pub(super) fn server(&self) -> Command {
        let mut command = self.home.account.command(self.binaries.postgres());
        command.arg("-D").arg(self.dir());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(self.runtime_dir.setting());
        if !self.home.account.is_us() {
            for (setting, file) in ["hba_file", "ident_file"].into_iter().zip(self.admission()) {
                command.arg("-c").arg(format!("{setting}={}", file.display()));
            }
        }
        command
    }
}

/// The major version that made a cluster, if there is one.
fn version(cluster: &Path) -> Result<Option<Major>, Error> {
    let path = cluster.join("PG_VERSION");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !cluster.exists() => return Ok(None),
        Err(source) => return Err(Error::io("read", &path)(source)),
    };
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is not a version", text.trim()));
    text.trim().parse().map(Some).map_err(|_| Error::io("read", &path)(garbled()))
}

/// Makes a cluster with the database in it, under a name of its own until it is complete. Another attempt that was
/// orphaned may still be writing to its own.
fn make(home: &Home, binaries: &Binaries) -> Result<(), Error> {
    let unfinished = home.dir.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
    DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .and_then(|()| home.account.give(&unfinished))
        .map_err(Error::io("make", &unfinished))?;

    let mut initdb = home.account.command(binaries.initdb());
    initdb.current_dir(&home.dir).args(INITDB_OPTIONS).arg(&unfinished);
    run("initdb", &mut initdb, "", home)?;

    let mut server = home.account.command(binaries.postgres());
    server.current_dir(&home.dir).arg("--single").arg("-D").arg(&unfinished);
    server.args(["-c", "exit_on_error=on", "postgres"]);
    run("postgres", &mut server, &format!("create database {NAME}\n"), home)?;

    fs::rename(&unfinished, home.cluster())
        .and_then(|()| File::open(&home.dir)?.sync_all())
        .map_err(Error::io("put in place", &home.cluster()))
}

/// How the names of clusters begin that are not complete.
const UNFINISHED: &str = "cluster.new-";

/// Removes what attempts to make the cluster have left behind.
fn remove_unfinished(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            warn!("{} is of no use, but cannot be removed: {error}", entry.path().display());
        }
    }
}

/// Runs one of Postgres' tools to its end.
fn run(tool: &'static str, command: &mut Command, input: &str, home: &Home) -> Result<(), Error> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(Error::io("run", &program))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that does not read its input says why on the way out.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let output = if said.is_empty() { output.status.to_string() } else { said };
    Err(Error::Initialise { tool, cluster: home.cluster(), output })
}

fn set_large_log_aside(log: &Path) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(found) if found.len() > LOG_LIMIT_BYTES => fs::rename(log, log.with_extension("log.old")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens the log to be written to by a server.
pub(super) fn open_log(log: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(log)
}
