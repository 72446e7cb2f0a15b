//! Gitdeploys: which package goes where on servers, through which git repository.
//!
//! ```no_run
//! use elita_plugin::gitdeploys::{Favor, NewGitdeploy};
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let web = NewGitdeploy::new("web", "/srv/shop", "site")
//!     .favor(Favor::Ours)
//!     .gitignore(["*.log"])
//!     .prepull(["systemctl", "stop", "shop"])
//!     .postpull(["systemctl", "start", "shop"]);
//! gitdeploys::create("my_application", "web", &web, &json!({}))?;
//! gitdeploys::update("my_application", "web", &json!({ "location": { "default_branch": "main" } }))?;
//! for on in gitdeploys::get("my_application", "web")?.servers {
//!     log::info!("{}: {:?}", on.server, on.deployed_build);
//! }
//! gitdeploys::delete("my_application", "web")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::gitdeploys as wit;
use crate::{Names, Result};

/// A gitdeploy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Gitdeploy {
    /// Its application.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// The package of a build that is deployed.
    pub package: String,
    /// Where it goes.
    pub location: Location,
    /// How it is committed and pulled.
    pub options: Options,
    /// What runs on each server around a pull.
    pub actions: Actions,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// The servers on which it is initialized, by name.
    pub servers: Vec<InitializedServer>,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed. A change of its servers does not count.
    pub updated_at: String,
}

/// Where a gitdeploy is on its servers, and where it is pulled from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Location {
    /// The directory on each server.
    pub path: String,
    /// The git repository of the application that it is committed to and pulled from.
    pub gitrepo: String,
    /// The branch that it is committed to.
    pub default_branch: String,
}

/// How a gitdeploy is committed and pulled. `autocrlf`, whether line endings are up to git on servers, is set by [`update`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Options {
    /// Which version wins when a server's own commits conflict with the pull.
    pub favor: Favor,
    /// Whether lines that differ in white space only are taken for the same by a pull.
    #[serde(rename = "ignore-whitespace")]
    pub ignore_whitespace: bool,
    /// Lines for the `.gitignore` of what is committed.
    pub gitignore: Vec<String>,
}

/// A side of a merge.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Favor {
    /// The server's.
    Ours,
    /// That of what is pulled.
    Theirs,
}

/// What runs on each server around a pull, in this order. A command is a list: its program and its arguments. Scripts and
/// states of Salt, which [`update`] takes, are shown as what comes to the same on the server itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Actions {
    /// Before it.
    pub prepull: Vec<Vec<String>>,
    /// After it.
    pub postpull: Vec<Vec<String>>,
}

/// A server on which a gitdeploy is initialized.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InitializedServer {
    /// The server.
    pub server: String,
    /// The build that was last deployed there.
    pub deployed_build: Option<String>,
    /// Since when it is initialized.
    pub initialized_at: String,
}

/// What a new gitdeploy needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewGitdeploy {
    /// The package of a build that is deployed.
    pub package: String,
    /// Where it goes.
    pub location: Location,
    /// How it is committed and pulled.
    pub options: Options,
    /// What runs on each server around a pull.
    pub actions: Actions,
}

impl NewGitdeploy {
    /// One that puts a package into a directory of servers, through the branch `master` of a git repository. The path
    /// is an absolute one of Unix or of Windows, at most 1024 bytes long.
    pub fn new(package: impl Into<String>, path: impl Into<String>, gitrepo: impl Into<String>) -> Self {
        Self {
            package: package.into(),
            location: Location { path: path.into(), gitrepo: gitrepo.into(), default_branch: "master".into() },
            options: Options { favor: Favor::Theirs, ignore_whitespace: false, gitignore: Vec::new() },
            actions: Actions { prepull: Vec::new(), postpull: Vec::new() },
        }
    }

    /// The same through another branch.
    #[must_use]
    pub fn default_branch(mut self, branch: impl Into<String>) -> Self {
        self.location.default_branch = branch.into();
        self
    }

    /// The same with this side taken where a server's own commits are in conflict with what is pulled.
    #[must_use]
    pub fn favor(mut self, side: Favor) -> Self {
        self.options.favor = side;
        self
    }

    /// The same with lines that differ in white space only taken for the same by a pull.
    #[must_use]
    pub fn ignore_whitespace(mut self) -> Self {
        self.options.ignore_whitespace = true;
        self
    }

    /// The same with these lines, too, in the `.gitignore` of what is committed.
    #[must_use]
    pub fn gitignore<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.options.gitignore.extend(lines.into_iter().map(Into::into));
        self
    }

    /// The same with one more command to run before a pull: a program and its arguments.
    #[must_use]
    pub fn prepull<A: Into<String>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.actions.prepull.push(command.into_iter().map(Into::into).collect());
        self
    }

    /// The same with one more command to run after a pull.
    #[must_use]
    pub fn postpull<A: Into<String>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.actions.postpull.push(command.into_iter().map(Into::into).collect());
        self
    }
}

/// A gitdeploy.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, gitdeploy: &str) -> Result<Gitdeploy> {
    from_wit(wit::get(application, gitdeploy)?)
}

/// The names of an application's gitdeploys, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Makes a gitdeploy, which is initialized on no server yet. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for a value that is not valid, such as a git repository that does not exist;
/// [`AlreadyExists`](crate::Code::AlreadyExists); and those of [`get`].
pub fn create(
    application: &str,
    gitdeploy: &str,
    new: &NewGitdeploy,
    attributes: &impl Serialize,
) -> Result<Gitdeploy> {
    from_wit(wit::create(application, gitdeploy, &into_wit(new.clone()), &serde_json::to_string(attributes)?)?)
}

/// Changes a gitdeploy by a JSON merge patch of its document:
/// `{"location": {"default_branch": "main"}, "options": {"favor": "ours", "ignore-whitespace": true}}`.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for its names, its servers and its times; [`Conflict`](crate::Code::Conflict) if
/// its location or `autocrlf` are to change while it is initialized on servers; [`Denied`](crate::Code::Denied) if what runs
/// around a pull is to change while it is initialized on a server that is not granted to the plugin; and those of [`get`].
pub fn update(application: &str, gitdeploy: &str, change: &impl Serialize) -> Result<Gitdeploy> {
    from_wit(wit::update(application, gitdeploy, &serde_json::to_string(change)?)?)
}

/// Removes a gitdeploy.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) while groups use it, or while it is initialized on servers; and those of
/// [`get`].
pub fn delete(application: &str, gitdeploy: &str) -> Result<()> {
    Ok(wit::delete(application, gitdeploy)?)
}

fn into_wit(new: NewGitdeploy) -> wit::NewGitdeploy {
    let NewGitdeploy {
        package,
        location: Location { path, gitrepo, default_branch },
        options: Options { favor, ignore_whitespace, gitignore },
        actions: Actions { prepull, postpull },
    } = new;
    let favor = match favor {
        Favor::Ours => wit::Favor::Ours,
        Favor::Theirs => wit::Favor::Theirs,
    };
    wit::NewGitdeploy {
        package,
        location: wit::Location { path, gitrepo, default_branch },
        options: wit::Options { favor, ignore_whitespace, gitignore },
        actions: wit::Actions { prepull, postpull },
    }
}

/// Makes a working copy of its git repository on servers, by a job, whose id is returned. On each server it succeeds or
/// fails by itself.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound) without the gitdeploy or a server; [`Denied`](crate::Code::Denied) where a server
/// is not granted to the plugin; [`Conflict`](crate::Code::Conflict) if the repository is not ready, or another gitdeploy
/// is at that place on a server; and those of [`get`].
pub fn initialize(application: &str, gitdeploy: &str, servers: &[&str]) -> Result<String> {
    let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
    Ok(wit::initialize(application, gitdeploy, &servers)?)
}

/// Removes its working copies from servers, by a job, whose id is returned.
///
/// # Errors
/// Those of [`initialize`].
pub fn deinitialize(application: &str, gitdeploy: &str, servers: &[&str]) -> Result<String> {
    let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
    Ok(wit::deinitialize(application, gitdeploy, &servers)?)
}

fn from_wit(gitdeploy: wit::Gitdeploy) -> Result<Gitdeploy> {
    let wit::Gitdeploy {
        application,
        name,
        package,
        location: wit::Location { path, gitrepo, default_branch },
        options: wit::Options { favor, ignore_whitespace, gitignore },
        actions: wit::Actions { prepull, postpull },
        attributes,
        servers,
        created_at,
        updated_at,
    } = gitdeploy;
    let favor = match favor {
        wit::Favor::Ours => Favor::Ours,
        wit::Favor::Theirs => Favor::Theirs,
    };
    let servers = servers.into_iter().map(|on| {
        let wit::InitializedServer { server, deployed_build, initialized_at } = on;
        InitializedServer { server, deployed_build, initialized_at }
    });
    Ok(Gitdeploy {
        application,
        name,
        package,
        location: Location { path, gitrepo, default_branch },
        options: Options { favor, ignore_whitespace, gitignore },
        actions: Actions { prepull, postpull },
        attributes: serde_json::from_str(&attributes)?,
        servers: servers.collect(),
        created_at,
        updated_at,
    })
}
