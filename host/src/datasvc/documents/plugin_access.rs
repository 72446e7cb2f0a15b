//! What a plugin asks for, against what it may touch.

use std::collections::BTreeSet;

use serde::Serialize;

use super::plugins::Plugin;
use crate::datasvc::access::caller::{Grants, Interface};
use crate::datasvc::ground::ids::AppName;

/// What a plugin may touch, and what it imports that has to be granted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PluginAccess {
    /// The applications that it registered actions or hooks for: these need no grant.
    pub registered_applications: BTreeSet<AppName>,
    /// Patterns of further applications, as the server's configuration grants them.
    pub granted_applications: Vec<String>,
    /// Patterns of the servers that it is granted.
    pub granted_servers: Vec<String>,
    /// Patterns of the functions of Salt that it may call on them, if the interface `salt` is granted.
    pub granted_salt_functions: Vec<String>,
    /// The interfaces that have to be granted.
    pub interfaces: Vec<InterfaceAccess>,
    /// Whether the plugin imports what sends HTTP requests to servers outside.
    pub requests_http: bool,
    /// The servers outside that it may send them to, each with the networks its name may lead to if they are given.
    pub granted_http: Vec<String>,
}

/// Where a plugin stands with an interface that has to be granted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InterfaceAccess {
    /// Its name in the configuration.
    pub name: Interface,
    /// Whether the plugin imports it.
    pub requested: bool,
    /// Whether the configuration grants it. What is not granted answers `denied`.
    pub granted: bool,
}

impl Grants {
    /// What this plugin asks for, against these grants.
    pub fn access(&self, plugin: &Plugin) -> PluginAccess {
        let of_actions = plugin.actions.iter().map(|action| &action.application);
        let of_hooks = plugin.hooks.iter().map(|hooks| &hooks.application);
        PluginAccess {
            registered_applications: of_actions.chain(of_hooks).cloned().collect(),
            granted_applications: self.applications.clone(),
            granted_servers: self.servers.clone(),
            granted_salt_functions: self.salt_functions(),
            interfaces: Interface::ALL.map(|interface| self.interface(interface, plugin)).to_vec(),
            requests_http: imports(plugin).any(|imported| imported.starts_with("wasi:http/outgoing-handler@")),
            granted_http: self.http().iter().map(ToString::to_string).collect(),
        }
    }

    fn interface(&self, name: Interface, plugin: &Plugin) -> InterfaceAccess {
        let import = format!("elita:plugin/{}@", name.as_str());
        let requested = imports(plugin).any(|imported| imported.starts_with(&import));
        InterfaceAccess { name, requested, granted: self.interfaces.contains(&name) }
    }
}

fn imports(plugin: &Plugin) -> impl Iterator<Item = &String> {
    plugin.imports.iter().flatten()
}
