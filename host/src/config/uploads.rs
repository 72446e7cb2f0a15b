//! The settings of uploads.

use clap::Args;

use crate::outbound::Destination;

/// What is taken as a build's file.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Uploads")]
pub struct UploadSettings {
    /// The largest file of a build, in bytes.
    #[arg(long = "upload-bytes", env = "ELITA_UPLOAD_BYTES", default_value_t = 4 << 30, value_name = "BYTES",
          value_parser = clap::value_parser!(u64).range(1..=1 << 50))]
    pub bytes: u64,
    /// Uploads that are received at the same time (further ones are refused), and that are fetched (further ones wait).
    #[arg(long = "uploads", env = "ELITA_UPLOADS", default_value_t = 16, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub at_a_time: u32,
    /// Servers without a public address from which files may be fetched, separated by commas, such as
    /// `10.0.0.5:8080`.
    #[arg(long = "upload-from", env = "ELITA_UPLOAD_FROM", value_name = "HOSTS", value_delimiter = ',')]
    pub from: Vec<Destination>,
    /// How long the job of an upload may take to fetch, inspect and package the file, in seconds.
    #[arg(long = "upload-seconds", env = "ELITA_UPLOAD_SECONDS", default_value_t = 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 3600))]
    pub seconds: u64,
    /// Maximum number of files and directories in a build's file.
    #[arg(id = "upload-entries", long = "upload-entries", env = "ELITA_UPLOAD_ENTRIES", default_value_t = 200_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub entries: u64,
    /// What a build's file may unpack to, in bytes.
    #[arg(long = "upload-unpacked-bytes", env = "ELITA_UPLOAD_UNPACKED_BYTES", default_value_t = 16 << 30,
          value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 50))]
    pub unpacked_bytes: u64,
    /// Total length of the names in a build's file, in bytes; for a zip also of comments and extensions in its
    /// directory. They are held in memory, more than once.
    #[arg(long = "upload-names-bytes", env = "ELITA_UPLOAD_NAMES_BYTES", default_value_t = 32 << 20,
          value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub names_bytes: u64,
    /// Maximum total size of the packages of a build, as a multiple of the size of its file; 16 MiB are always allowed.
    #[arg(long = "upload-packages-factor", env = "ELITA_UPLOAD_PACKAGES_FACTOR", default_value_t = 10,
          value_name = "FACTOR", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub packages_factor: u64,
    /// Archives that are inspected and packaged at the same time.
    #[arg(long = "upload-archives", env = "ELITA_UPLOAD_ARCHIVES", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub archives: u32,
}
