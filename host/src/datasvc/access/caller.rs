//! Who is asking, and what they may do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::permissions::Permissions;
use crate::datasvc::ground::aside::Aside;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::glob::matches;
use crate::datasvc::ground::ids::{ActionName, AppName, JobId, PluginName, ServerName, TokenId, UserName};
use crate::outbound::Destination;

/// What the installation does with servers, by its name in permissions.
pub(in crate::datasvc) const COMMAND: &str = "command";

/// The functions of Salt that a plugin may call unless its grants say otherwise.
pub(in crate::datasvc) const SALT_FUNCTIONS: [&str; 1] = ["test.ping"];

/// Who asks for an operation. Every operation for REST or plugins takes a caller and checks its permissions first.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Someone with a token.
    User {
        /// Their name, for the record.
        name: UserName,
        /// The token they used.
        token: TokenId,
        /// Where their request came from.
        address: Option<IpAddr>,
        /// What they may do.
        permissions: Arc<Permissions>,
    },
    /// A plugin, with its own grants, whoever called it.
    Plugin {
        /// Its name, for the record.
        name: PluginName,
        /// The job that it runs in.
        job: JobId,
        /// The applications it registered actions or hooks for.
        applications: Arc<BTreeSet<AppName>>,
        /// What else it may touch.
        grants: Arc<Grants>,
    },
}

/// What the server's configuration lets a plugin touch beyond the applications that it registered something for.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Patterns of further applications' names.
    pub(in crate::datasvc) applications: Vec<String>,
    /// Patterns of the names of servers.
    pub(in crate::datasvc) servers: Vec<String>,
    /// Patterns of the functions of Salt that it may call. `None`: [`SALT_FUNCTIONS`].
    #[serde(rename = "salt-functions")]
    pub(in crate::datasvc) salt_functions: Option<Vec<String>>,
    /// Interfaces that are not an application's, and are denied without it.
    pub(in crate::datasvc) interfaces: BTreeSet<Interface>,
    /// Servers outside that it may send HTTP requests to.
    pub(in crate::datasvc) http: Vec<Destination>,
}

impl Grants {
    /// Patterns of the functions of Salt that the plugin may call.
    pub(in crate::datasvc) fn salt_functions(&self) -> Vec<String> {
        let granted = self.salt_functions.clone();
        granted.unwrap_or_else(|| SALT_FUNCTIONS.map(str::to_owned).to_vec())
    }

    /// Servers outside that the plugin may send HTTP requests to.
    pub fn http(&self) -> &[Destination] {
        &self.http
    }
}

/// An interface that has to be granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    /// Which git providers there are.
    GitProviders,
    /// To run commands on the servers that are granted.
    Remote,
    /// To call functions of Salt on the servers that are granted.
    Salt,
    /// To make, change and remove servers. Looking at those that are granted takes only them.
    Servers,
}

impl Interface {
    /// All there are.
    pub(in crate::datasvc) const ALL: [Self; 4] = [Self::GitProviders, Self::Remote, Self::Salt, Self::Servers];

    /// Its name, in WIT and in the configuration.
    pub(in crate::datasvc) fn as_str(self) -> &'static str {
        match self {
            Self::GitProviders => "git-providers",
            Self::Remote => "remote",
            Self::Salt => "salt",
            Self::Servers => "servers",
        }
    }
}

/// What may be done with an application, or with what belongs to none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Permission {
    /// Look at it.
    Read,
    /// Change it.
    Write,
    /// Of an application: upload builds, and see the jobs of one's own uploads. Who may write may do that, too.
    Upload,
}

impl Permission {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Upload => "upload",
        }
    }
}

impl Caller {
    /// The same, at this address: a user's request came from there.
    pub fn at(mut self, client: IpAddr) -> Self {
        if let Self::User { address, .. } = &mut self {
            *address = Some(client);
        }
        self
    }

    /// Whether this caller holds the permission on the application.
    pub fn may(&self, permission: Permission, application: &AppName) -> bool {
        match self {
            Self::User { permissions, .. } => permissions.on_application(permission.word(), application.as_str()),
            Self::Plugin { applications, grants, .. } => {
                applications.contains(application) || any_matches(&grants.applications, application.as_str())
            }
        }
    }

    /// Whether this caller may do this with the server.
    pub fn may_server(&self, permission: Permission, server: &ServerName) -> bool {
        match (self, permission) {
            (Self::User { permissions, .. }, Permission::Read) => {
                permissions.on_global(permission.word()) || permissions.on_server(server.as_str())
            }
            (_, Permission::Upload) => false,
            (Self::User { permissions, .. }, Permission::Write) => permissions.on_global(permission.word()),
            (Self::Plugin { grants, .. }, Permission::Read) => any_matches(&grants.servers, server.as_str()),
            (Self::Plugin { grants, .. }, Permission::Write) => {
                grants.interfaces.contains(&Interface::Servers) && any_matches(&grants.servers, server.as_str())
            }
        }
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not do this with the server.
    pub fn require_server(&self, permission: Permission, server: &ServerName) -> Result<()> {
        if self.may_server(permission, server) {
            return Ok(());
        }
        Err(denied(match self {
            Self::User { .. } => {
                format!("this needs the permission `{}` on `_global` or on server `{server}`", permission.word())
            }
            Self::Plugin { name, .. } => format!(
                "server `{server}` is not granted to plugin `{name}`; the operator grants it under [plugins.{name}]"
            ),
        }))
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not send commands to the server: a user has to hold both the server and
    /// [`COMMAND`], and a plugin to be granted the server and [`Interface::Remote`] or [`Interface::Salt`].
    pub fn require_command(&self, server: &ServerName) -> Result<()> {
        let Self::User { permissions, .. } = self else {
            // Which of the two is for the operation to say.
            self.require_interface(Permission::Write, Interface::Remote)
                .or_else(|why| self.require_interface(Permission::Write, Interface::Salt).map_err(|_| why))?;
            return self.require_server(Permission::Read, server);
        };
        if !permissions.on_global_action(COMMAND) {
            return Err(denied(format!(
                "this needs the permission `execute` on `{COMMAND}` of `_global`, in `actions`"
            )));
        }
        self.require_use(server)
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not deploy to the server, whatever they may see of it.
    pub fn require_use(&self, server: &ServerName) -> Result<()> {
        let Self::User { permissions, .. } = self else { return self.require_server(Permission::Read, server) };
        if permissions.on_server(server.as_str()) {
            return Ok(());
        }
        Err(denied(format!("this needs server `{server}` among the `servers` of your permissions")))
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not deploy the application to all of these servers.
    pub fn require_deploy(&self, application: &AppName, servers: &[ServerName]) -> Result<()> {
        self.require(Permission::Write, application)?;
        servers.iter().try_for_each(|server| self.require_use(server))
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not do this with what the interface offers.
    pub fn require_interface(&self, permission: Permission, interface: Interface) -> Result<()> {
        match self {
            Self::User { .. } => self.require_global(permission),
            Self::Plugin { grants, .. } if grants.interfaces.contains(&interface) => Ok(()),
            Self::Plugin { name, .. } => Err(denied(format!(
                "the interface is not granted to plugin `{name}`; the operator grants it under [plugins.{name}]"
            ))),
        }
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not call this function of Salt.
    pub fn require_salt_function(&self, function: &str) -> Result<()> {
        let Self::Plugin { name, grants, .. } = self else {
            return Err(denied("functions of Salt are called by plugins only".into()));
        };
        self.require_interface(Permission::Write, Interface::Salt)?;
        if grants.salt_functions().iter().any(|pattern| matches(pattern.as_bytes(), function.as_bytes())) {
            return Ok(());
        }
        Err(denied(format!(
            "the function `{function}` is not granted to plugin `{name}`; the operator grants it under [plugins.{name}] by \
             `salt-functions`"
        )))
    }

    /// Whether this caller holds the permission on what belongs to no application.
    pub fn may_globally(&self, permission: Permission) -> bool {
        match self {
            Self::User { permissions, .. } => permissions.on_global(permission.word()),
            Self::Plugin { .. } => false,
        }
    }

    /// # Errors
    /// [`Error::Denied`] if the caller does not hold the permission on the application.
    pub fn require(&self, permission: Permission, application: &AppName) -> Result<()> {
        if self.may(permission, application) {
            return Ok(());
        }
        Err(denied(format!("this needs the permission `{}` on application `{application}`", permission.word())))
    }

    /// # Errors
    /// [`Error::Denied`] if the caller does not hold the permission on `_global`.
    pub fn require_global(&self, permission: Permission) -> Result<()> {
        if self.may_globally(permission) {
            return Ok(());
        }
        Err(denied(format!("this needs the permission `{}` on `_global`", permission.word())))
    }

    /// # Errors
    /// [`Error::Denied`] unless the caller holds all that these permissions grant: nobody gives away more, and nobody
    /// takes the place of somebody who holds more; [`Error::Invalid`] if that cannot be found out. It may take long.
    pub(in crate::datasvc) fn require_cover(&self, permissions: &Permissions, aside: &Aside) -> Result<()> {
        match self {
            Self::User { permissions: held, .. } if held.cover(permissions, aside)? => Ok(()),
            Self::User { .. } => Err(denied("these permissions are more than you hold yourself".into())),
            Self::Plugin { .. } => Err(denied("a plugin has no users".into())),
        }
    }

    /// # Errors
    /// [`Error::Denied`] if the caller may not run this action.
    pub fn require_execute(&self, application: &AppName, action: &ActionName) -> Result<()> {
        let granted = match self {
            Self::User { permissions, .. } => permissions.on_action(application.as_str(), action.as_str()),
            Self::Plugin { .. } => self.may(Permission::Write, application),
        };
        if granted {
            return Ok(());
        }
        Err(denied(format!("this needs the permission `execute` on action `{action}` of application `{application}`")))
    }

    /// How much work it is to find out whether this caller may see something; see [`Permissions::work`].
    pub(in crate::datasvc) fn pattern_work(&self) -> usize {
        match self {
            Self::User { permissions, .. } => permissions.work(),
            // Its patterns are the operator's.
            Self::Plugin { .. } => 1,
        }
    }

    /// Where the caller's own code may send HTTP requests; for a user the list is empty.
    pub fn http_destinations(&self) -> &[Destination] {
        match self {
            Self::User { .. } => &[],
            Self::Plugin { grants, .. } => grants.http(),
        }
    }

    /// The token in use; none for a plugin.
    pub(in crate::datasvc) fn token(&self) -> Option<TokenId> {
        match self {
            Self::User { token, .. } => Some(*token),
            Self::Plugin { .. } => None,
        }
    }

    /// The token in use, if it may do less than its user.
    pub(in crate::datasvc) fn narrowed_token(&self) -> Option<TokenId> {
        match self {
            Self::User { token, permissions, .. } => permissions.is_narrowed().then_some(*token),
            Self::Plugin { .. } => None,
        }
    }

    /// Where the user's request came from.
    pub(in crate::datasvc) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::User { address, .. } => *address,
            Self::Plugin { .. } => None,
        }
    }

    /// The plugin's name; none for a user.
    pub fn plugin(&self) -> Option<&PluginName> {
        match self {
            Self::User { .. } => None,
            Self::Plugin { name, .. } => Some(name),
        }
    }

    /// The user's name; none for a plugin.
    pub fn username(&self) -> Option<&UserName> {
        match self {
            Self::User { name, .. } => Some(name),
            Self::Plugin { .. } => None,
        }
    }
}

fn any_matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

fn denied(reason: String) -> Error {
    Error::Denied { reason }
}
