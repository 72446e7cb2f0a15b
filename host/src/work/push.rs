//! Files that are sent to servers: in pieces, so that no more than a few of them are in memory, and put in their place
//! once the server has seen that all of it arrived.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Work;
use super::builds::not_reached;
use crate::datasvc::{Caller, FileLocation, Result};
use crate::engine::Run;
use crate::plugin::Content;
use crate::remote::{Command, CommandId, InvalidCommand, Os, Piece, Report, Target};
use crate::storage::Storage;

/// How many servers are sent a file at a time, of all jobs here: each takes a piece in memory.
pub(super) const PUSHES_AT_A_TIME: usize = 8;

/// What is sent.
pub(super) enum File {
    Bytes(Bytes),
    Package(StoredFile),
}

/// A package's file.
pub(super) struct StoredFile {
    storage: Storage,
    /// Its application, its build and its name.
    name: [String; 3],
    location: FileLocation,
    size_bytes: u64,
    sha256: String,
}

/// A file, and where it is to be.
pub(super) struct Push {
    file: File,
    path: String,
    mode: u32,
    sha256: String,
}

impl File {
    /// What a plugin names, if it may read that.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::build_package`].
    pub(super) async fn of(work: &Work, caller: &Caller, content: Content) -> Result<Self> {
        let (application, build, package) = match content {
            Content::Bytes(bytes) => return Ok(Self::Bytes(bytes)),
            Content::Package(application, build, package) => (application, build, package),
        };
        let (file, location) = work.0.svc.build_package(caller, &application, &build, &package).await?;
        Ok(Self::Package(StoredFile {
            storage: work.0.storage.clone(),
            name: [application.to_string(), build.to_string(), package.to_string()],
            location,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        }))
    }

    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Package(file) => file.size_bytes,
        }
    }

    /// A part of it.
    async fn piece(&self, offset: u64, length: u64) -> Result<Bytes> {
        let end = offset.saturating_add(length).min(self.length());
        match self {
            Self::Bytes(bytes) => {
                let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(at(offset)..at(end)))
            }
            Self::Package(file) => {
                let FileLocation { upload, run, filename } = &file.location;
                let read = file.storage.read_build_file((*upload).into(), *run, filename, offset..end).await;
                let pieces = read.map_err(not_reached)?.map_err(not_reached);
                let gathered = pieces.try_fold(BytesMut::new(), |mut all, piece| async move {
                    all.extend_from_slice(&piece);
                    Ok(all)
                });
                Ok(gathered.await?.freeze())
            }
        }
    }
}

impl Push {
    /// # Errors
    /// If the path is not one, or the mode has more than permissions.
    pub(super) fn new(file: File, path: String, mode: u32) -> std::result::Result<Self, InvalidCommand> {
        crate::remote::check_file(&path)?;
        crate::remote::check_mode(mode)?;
        let sha256 = match &file {
            File::Bytes(bytes) => Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            File::Package(file) => file.sha256.clone(),
        };
        Ok(Self { file, path, mode, sha256 })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What people may see of it.
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({ "verb": "push-file", "path": self.path, "mode": format!("{:o}", self.mode),
            "size_bytes": self.file.length(), "sha256": self.sha256 });
        if let File::Package(StoredFile { name: [application, build, package], .. }) = &self.file {
            shown["package"] = json!({ "application": application, "build": build, "package": package });
        }
        shown
    }

    /// Sends it to a server and puts it in its place, which is the command of this id. `like` says how long each
    /// command may take, and how much of its output is kept.
    pub(super) async fn send(
        &self,
        work: &Work,
        run: &Run,
        target: &Target,
        os: Os,
        id: CommandId,
        like: &Command,
    ) -> Report {
        let _place = work.0.pushes.acquire().await;
        let report = match self.send_all(work, run, target, os, id, like).await {
            Ok(put) => work.0.remote.run(target, id, &put).await,
            Err(report) => *report,
        };
        if !report.is_ok() {
            self.discard(work, target, os, id).await;
        }
        report
    }

    /// Sends all pieces: the command that puts them in their place.
    async fn send_all(
        &self,
        work: &Work,
        run: &Run,
        target: &Target,
        os: Os,
        id: CommandId,
        like: &Command,
    ) -> std::result::Result<Command, Box<Report>> {
        let (files, transfer) = (work.0.remote.files(target, os), id.to_string());
        let within = |command: Command| Command { timeout: like.timeout, output_bytes: like.output_bytes, ..command };
        let cannot = |why: &dyn std::fmt::Display| Box::new(Report::no_response(why.to_string()));
        let mut offset = 0;
        loop {
            if run.cancel.is_requested() {
                return Err(cannot(&"not all of it was sent, because the job was asked to stop"));
            }
            let bytes = self.file.piece(offset, files.piece_bytes()).await.map_err(|error| {
                tracing::error!("a file for a server could not be read: {error}");
                cannot(&"the file could not be read here; the server's log says why")
            })?;
            if bytes.is_empty() && offset < self.file.length() {
                return Err(cannot(&"the file ended early here"));
            }
            let length = bytes.len() as u64;
            let command = files.send(&self.path, &transfer, &Piece { offset, bytes }).map_err(|why| cannot(&why))?;
            let piece = CommandId::new();
            let report = work.0.remote.run(target, piece, &within(command)).await;
            if !report.is_ok() {
                return Err(Box::new(report));
            }
            work.0.remote.forget(target, piece).await;
            offset += length;
            if offset >= self.file.length() {
                break;
            }
        }
        files.put(&self.path, &transfer, &self.sha256, self.mode).map(within).map_err(|why| cannot(&why))
    }

    async fn discard(&self, work: &Work, target: &Target, os: Os, id: CommandId) {
        discard(work, target, os, &self.path, id).await;
    }
}

impl Work {
    /// Removes what a server was sent of a file by a host that has ended.
    pub(super) async fn clean_up(&self, target: &Target, asked: &Value, id: CommandId) {
        if let (Some("push-file"), Some(path)) = (asked["verb"].as_str(), asked["path"].as_str())
            && let Ok(system) = self.0.remote.system(target).await
        {
            discard(self, target, system.os, path, id).await;
        }
    }
}

async fn discard(work: &Work, target: &Target, os: Os, path: &str, id: CommandId) {
    let remote = &work.0.remote;
    if let Ok(command) = remote.files(target, os).discard(path, &id.to_string()) {
        let discarding = CommandId::new();
        remote.run(target, discarding, &command).await;
        remote.forget(target, discarding).await;
    }
}
