//! Builds: what CI uploads and deployments put on servers.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! builds::create("my_application", "124-master", &json!({}))?;
//! builds::update("my_application", "124-master", &json!({ "attributes": { "foo": "bar" } }))?;
//! for name in builds::list("my_application")? {
//!     log::info!("{}", builds::get("my_application", &name?)?.attributes["foo"]);
//! }
//! builds::delete("my_application", "123-master")?;
//! # Ok(())
//! # }
//! ```

use std::io::{self, Read, Write};

use serde::Serialize;
use serde_json::Value;

use crate::bindings::elita::plugin::types::Error as WitError;
use crate::host::builds as wit;
use crate::{Names, Result};

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Build {
    /// Its application.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// Whether its file was uploaded.
    pub stored: bool,
    /// The name of that file.
    pub master_file: Option<String>,
    /// By name. `master` is the uploaded file itself.
    pub packages: Vec<PackageFile>,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// A package of a build: a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PackageFile {
    /// Unique within the build.
    pub name: String,
    /// The file's name.
    pub filename: String,
    /// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`.
    pub file_type: String,
    /// The file's length.
    pub size_bytes: u64,
    /// 64 hexadecimal digits, in lower case.
    pub sha256: String,
}

/// A build.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, build: &str) -> Result<Build> {
    from_wit(wit::get(application, build)?)
}

/// The names of an application's builds, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// The paths in a build's file, bytewise in order, read page by page.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// for path in builds::files("my_application", "124-master")? {
///     log::info!("{}", path?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`get`].
pub fn files(application: &str, build: &str) -> Result<Names> {
    let (application, build) = (application.to_owned(), build.to_owned());
    Names::read(move |page| wit::files(&application, &build, None, page))
}

/// The same, of those paths that the glob matches: `*` stays within a directory, `**` does not.
///
/// # Errors
/// Those of [`get`]; [`Invalid`](crate::Code::Invalid) for what is not a glob.
pub fn files_matching(application: &str, build: &str, glob: &str) -> Result<Names> {
    let (application, build, glob) = (application.to_owned(), build.to_owned(), glob.to_owned());
    Names::read(move |page| wit::files(&application, &build, Some(&glob), page))
}

/// Makes a build, of which nothing is stored yet. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`AlreadyExists`](crate::Code::AlreadyExists), and those of [`get`].
pub fn create(application: &str, build: &str, attributes: &impl Serialize) -> Result<Build> {
    from_wit(wit::create(application, build, &serde_json::to_string(attributes)?)?)
}

/// Changes a build by a JSON merge patch: `{"attributes": {"foo": "bar"}}` sets one attribute, null removes one.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but the attributes, and those of [`get`].
pub fn update(application: &str, build: &str, change: &impl Serialize) -> Result<Build> {
    from_wit(wit::update(application, build, &serde_json::to_string(change)?)?)
}

/// Removes a build with its files.
///
/// # Errors
/// Those of [`get`]; [`Conflict`](crate::Code::Conflict) while an upload of it goes on.
pub fn delete(application: &str, build: &str) -> Result<()> {
    Ok(wit::delete(application, build)?)
}

/// Begins a package of the build whose upload fires the hook `BUILD_UPLOAD_SUCCESS` that this runs in: an archive,
/// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`. It is written like a file, and added by
/// [`PackageWriter::finish`].
///
/// ```no_run
/// use std::io::Write as _;
///
/// use elita_plugin::prelude::*;
///
/// # fn make_archive() -> Vec<u8> { Vec::new() }
/// fn add_notes(call: &HookCall) -> Result<()> {
///     let build: hooks::BuildUploadSuccess = call.parameters()?;
///     let mut notes = builds::add_package(&call.application, &build.build_name, "notes", "zip")?;
///     notes.write_all(&make_archive())?;
///     notes.finish()?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for the name `master`, or another file type;
/// [`AlreadyExists`](crate::Code::AlreadyExists); [`Conflict`](crate::Code::Conflict) anywhere but in that hook;
/// [`LimitExceeded`](crate::Code::LimitExceeded) if four packages are open already, or the build has 200;
/// [`Denied`](crate::Code::Denied) where the plugin may not change the application.
pub fn add_package(application: &str, build: &str, name: &str, file_type: &str) -> Result<PackageWriter> {
    let writer = wit::add_package(application, build, name, file_type)?;
    Ok(PackageWriter { writer, gathered: Vec::new() })
}

/// Reads a package of a stored build, in any action or hook. A hook that has a directory reads faster from that.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// let mut master = builds::read_package("my_application", "124-master", "master");
/// let length = std::io::copy(&mut master, &mut std::io::sink())?;
/// # Ok(())
/// # }
/// ```
///
/// Reading fails with [`NotFound`](crate::Code::NotFound) without the build or the package, and as [`get`] does.
pub fn read_package(application: &str, build: &str, name: &str) -> PackageReader {
    let [application, build, name] = [application, build, name].map(str::to_owned);
    PackageReader { application, build, name, offset: 0 }
}

/// How much of a package is handed to the host at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A package on its way into a build. It is abandoned when it is dropped before it is finished.
#[derive(Debug)]
#[must_use = "a package is added when it is finished"]
pub struct PackageWriter {
    writer: wit::PackageWriter,
    gathered: Vec<u8>,
}

impl PackageWriter {
    /// Ends the package and adds it to its build. It is checked as an uploaded file is.
    ///
    /// # Errors
    /// [`Invalid`](crate::Code::Invalid) for what would be refused as an upload;
    /// [`AlreadyExists`](crate::Code::AlreadyExists); [`Conflict`](crate::Code::Conflict) if the job was taken away
    /// from this run, or the store of the server is full; [`LimitExceeded`](crate::Code::LimitExceeded) if the packages
    /// of this run are larger together than the server allows.
    pub fn finish(self) -> Result<PackageFile> {
        self.end(None)
    }

    /// The same, if its SHA-256 is this: 64 hexadecimal digits in lower case.
    ///
    /// # Errors
    /// Those of [`PackageWriter::finish`]; [`Invalid`](crate::Code::Invalid) for another digest.
    pub fn finish_as(self, sha256: &str) -> Result<PackageFile> {
        self.end(Some(sha256))
    }

    fn end(mut self, sha256: Option<&str>) -> Result<PackageFile> {
        self.send()?;
        Ok(package_from_wit(self.writer.finish(sha256)?))
    }

    fn send(&mut self) -> Result<(), WitError> {
        if !self.gathered.is_empty() {
            self.writer.write(&self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }
}

impl Write for PackageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(CHUNK_BYTES - self.gathered.len())];
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}

/// A package of a stored build, from its beginning on.
#[derive(Debug)]
pub struct PackageReader {
    application: String,
    build: String,
    name: String,
    offset: u64,
}

impl Read for PackageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let read = wit::read_package(&self.application, &self.build, &self.name, self.offset, length)
            .map_err(io::Error::other)?;
        buffer[..read.len()].copy_from_slice(&read);
        self.offset += read.len() as u64;
        Ok(read.len())
    }
}

fn package_from_wit(package: wit::PackageFile) -> PackageFile {
    let wit::PackageFile { name, filename, file_type, size_bytes, sha256 } = package;
    PackageFile { name, filename, file_type, size_bytes, sha256 }
}

fn from_wit(build: wit::Build) -> Result<Build> {
    let wit::Build { application, name, stored, master_file, packages, attributes, created_at, updated_at } = build;
    let packages = packages.into_iter().map(package_from_wit);
    Ok(Build {
        application,
        name,
        stored,
        master_file,
        packages: packages.collect(),
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
