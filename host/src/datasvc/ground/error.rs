//! Why an operation did not happen. Knows nothing of HTTP or WIT; REST and the plugin host each translate it once.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of an operation of the data services.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or the caller may not know of it.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What was looked for.
        kind: Noun,
        /// The name it was looked for by.
        name: String,
    },
    /// The name is taken. Nothing was overwritten.
    #[error("{kind} `{name}` already exists")]
    AlreadyExists {
        /// What was to be made.
        kind: Noun,
        /// The name that is taken.
        name: String,
    },
    /// An argument that cannot be right, whatever the state of the system.
    #[error("{}{reason}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
    Invalid {
        /// The argument, by its name in the documents; where it is in another one, by its path: `location/path`. Empty:
        /// what came as a whole.
        field: Cow<'static, str>,
        /// What is wrong with it.
        reason: String,
    },
    /// Several arguments that cannot be right, or do not fit what there is.
    #[error("{}", .0.told())]
    Faults(Faults),
    /// Parameters that an action declares are not in the request. Nothing ran.
    #[error("the action needs {}", listed(missing))]
    MissingParameters {
        /// Their names, in the order of the declaration.
        missing: Vec<String>,
    },
    /// More than one call may carry.
    #[error("{what} is {actual} bytes long, and at most {limit} are taken")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        actual: usize,
        /// The longest that is taken, in bytes.
        limit: usize,
    },
    /// More of something than there may be.
    #[error("at most {limit} {what} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
    /// Something else is in the way, or changed meanwhile.
    #[error("{reason}")]
    Conflict {
        /// What is in the way, and what to do.
        reason: String,
    },
    /// It is no longer what the caller has seen.
    #[error("{kind} `{name}` has changed since; read it again and decide anew")]
    Changed {
        /// What was to be changed or removed.
        kind: Noun,
        /// Its name.
        name: String,
    },
    /// The same idempotency key came with another request.
    #[error("the idempotency key `{key}` was used for another request; take a new key for a new request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The caller is known, and may not do this.
    #[error("{reason}")]
    Denied {
        /// Which permission is missing.
        reason: String,
    },
    /// No such user, or another password: which of them is not said.
    #[error("the username or the password is wrong")]
    WrongPassword,
    /// The token is unknown or has expired.
    #[error("the token is not valid, or has expired; log in again with POST /global/tokens")]
    InvalidToken,
    /// Too much is asked for at once, or too often.
    #[error("{reason}")]
    Throttled {
        /// Of what there was too much.
        reason: String,
        /// How long to wait before asking again.
        retry_after: Duration,
    },
    /// The log of a job takes no more of its plugin's entries.
    #[error("the job's log is full: it takes {entries} entries and {bytes} bytes of a plugin; this entry was dropped")]
    LogFull {
        /// How many it takes.
        entries: usize,
        /// How many bytes of all entries together.
        bytes: usize,
    },
    /// The database did not answer. The same call may work later.
    #[error("the database does not answer")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// A fault of the service. Not for users' eyes.
    #[error("an internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Several things that are wrong with what was asked.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

/// One of them.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The argument, as in [`Error::Invalid`].
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub reason: String,
}

impl Faults {
    /// How many are told.
    const MAX: usize = 100;

    /// One more.
    pub(crate) fn add(&mut self, field: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.push(Fault { field: field.into(), reason: reason.into() });
    }

    pub(crate) fn push(&mut self, fault: Fault) {
        if self.0.len() < Self::MAX {
            self.0.push(fault);
        }
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// # Errors
    /// [`Error::Faults`] if there are any.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Error::Faults(self.clone())) }
    }

    fn told(&self) -> String {
        let told: Vec<_> = self.0.iter().map(|fault| format!("{}: {}", fault.field, fault.reason)).collect();
        told.join("; ")
    }
}

fn listed(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("the {} {}", if names.len() == 1 { "parameter" } else { "parameters" }, quoted.join(", "))
}

impl Error {
    pub(crate) fn not_found(kind: Noun, name: impl fmt::Display) -> Self {
        Self::NotFound { kind, name: name.to_string() }
    }

    pub(crate) fn already_exists(kind: Noun, name: impl fmt::Display) -> Self {
        Self::AlreadyExists { kind, name: name.to_string() }
    }

    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    pub(crate) fn conflict(reason: impl Into<String>) -> Self {
        Self::Conflict { reason: reason.into() }
    }

    /// More is asked for at this moment than there is capacity for.
    pub(crate) fn too_busy() -> Self {
        let reason =
            "the server is busy with as many such requests as it takes at once; try again in a few seconds".into();
        Self::Throttled { reason, retry_after: Duration::from_secs(2) }
    }

    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

/// The kinds of things that have names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Noun {
    /// An application.
    Application,
    /// An action of an application.
    Action,
    /// A job.
    Job,
    /// A plugin.
    Plugin,
    /// A token.
    Token,
    /// A user.
    User,
    /// A build.
    Build,
    /// A package of a build.
    Package,
    /// A package map.
    PackageMap,
    /// A git provider.
    GitProvider,
    /// A keypair.
    Keypair,
    /// A git repository.
    GitRepo,
    /// A gitdeploy.
    Gitdeploy,
    /// A group.
    Group,
    /// A server.
    Server,
    /// A deployment.
    Deployment,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Action => "action",
            Self::Job => "job",
            Self::Plugin => "plugin",
            Self::Token => "token",
            Self::User => "user",
            Self::Build => "build",
            Self::Package => "package",
            Self::PackageMap => "package map",
            Self::GitProvider => "git provider",
            Self::Keypair => "keypair",
            Self::GitRepo => "git repository",
            Self::Gitdeploy => "gitdeploy",
            Self::Group => "group",
            Self::Server => "server",
            Self::Deployment => "deployment",
        })
    }
}
