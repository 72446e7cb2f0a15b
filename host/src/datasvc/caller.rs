//! Who is asking, and what they may do.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{Error, Result};
use super::ids::{ActionName, AppName, PluginName, TokenId, UserName};
use super::permissions::Permissions;

/// Who asks for an operation. Every operation that a door offers takes one and asks it first.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Someone with a token.
    User {
        /// Their name, for the record.
        name: UserName,
        /// The token they used.
        token: TokenId,
        /// What they may do.
        permissions: Arc<Permissions>,
    },
    /// A plugin, with its own grants, whoever called it.
    Plugin {
        /// Its name, for the record.
        name: PluginName,
        /// The applications it registered actions or hooks for.
        applications: Arc<BTreeSet<AppName>>,
    },
}

/// What may be done with an application, or with what belongs to none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Permission {
    /// Look at it.
    Read,
    /// Change it.
    Write,
}

impl Permission {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Caller {
    /// Whether this caller holds the permission on the application.
    pub fn may(&self, permission: Permission, application: &AppName) -> bool {
        match self {
            Self::User { permissions, .. } => permissions.on_application(permission.word(), application.as_str()),
            Self::Plugin { applications, .. } => applications.contains(application),
        }
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
    /// [`Error::Denied`] if the caller may not run this action.
    pub fn require_execute(&self, application: &AppName, action: &ActionName) -> Result<()> {
        let granted = match self {
            Self::User { permissions, .. } => permissions.on_action(application.as_str(), action.as_str()),
            Self::Plugin { applications, .. } => applications.contains(application),
        };
        if granted {
            return Ok(());
        }
        Err(denied(format!("this needs the permission `execute` on action `{action}` of application `{application}`")))
    }

    /// The user's name; none for a plugin.
    pub fn username(&self) -> Option<&UserName> {
        match self {
            Self::User { name, .. } => Some(name),
            Self::Plugin { .. } => None,
        }
    }
}

fn denied(reason: String) -> Error {
    Error::Denied { reason }
}
