//! What the active plugins register, in memory, so that finding an action costs a look-up. Never changed: replaced.

mod registered;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::datasvc::{
    ActionName, ActivePlugin, AppName, Digest, PluginAction, PluginHooks, PluginName, RegisteredAction,
};

pub(crate) use self::registered::Registered;

/// An action that can be called.
#[derive(Clone, Debug)]
pub struct FoundAction {
    /// The plugin that registered it.
    pub plugin: PluginName,
    /// The plugin's active component.
    pub digest: Digest,
    /// What was registered.
    pub action: RegisteredAction,
}

/// The actions and hooks of the active plugins at one revision.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Of the database's tables that this was made from.
    pub(crate) revision: i64,
    actions: HashMap<AppName, BTreeMap<ActionName, Arc<FoundAction>>>,
    /// For each hook of an application the plugins that have registered it, in order of their names.
    hooks: HashMap<AppName, HashMap<String, BTreeMap<PluginName, Digest>>>,
    applications: HashMap<PluginName, Arc<BTreeSet<AppName>>>,
    pub(crate) digests: HashSet<Digest>,
}

impl Catalog {
    pub(crate) fn new(revision: i64, plugins: Vec<ActivePlugin>) -> Self {
        let mut catalog = Self { revision, ..Self::default() };
        for ActivePlugin { name: plugin, digest, registration } in plugins {
            catalog.digests.insert(digest);
            let of_hooks = registration.hooks.iter().map(|hooks| hooks.application.clone());
            let of_actions = registration.actions.iter().map(|action| action.application.clone());
            catalog.applications.insert(plugin.clone(), Arc::new(of_hooks.chain(of_actions).collect()));
            for PluginHooks { application, hooks } in registration.hooks {
                let of_application = catalog.hooks.entry(application).or_default();
                for hook in hooks {
                    of_application.entry(hook).or_default().insert(plugin.clone(), digest);
                }
            }
            for action in registration.actions {
                let of_application = catalog.actions.entry(action.application.clone()).or_default();
                let found = FoundAction { plugin: plugin.clone(), digest, action };
                of_application.insert(found.action.name.clone(), Arc::new(found));
            }
        }
        catalog
    }

    pub(crate) fn action(&self, application: &AppName, action: &ActionName) -> Option<Arc<FoundAction>> {
        self.actions.get(application)?.get(action).cloned()
    }

    pub(crate) fn actions(&self, application: &AppName) -> Vec<PluginAction> {
        self.actions.get(application).into_iter().flat_map(BTreeMap::values).map(|found| found.document()).collect()
    }

    pub(crate) fn hooks(&self, application: &AppName, hook: &str) -> Vec<(PluginName, Digest)> {
        let plugins = self.hooks.get(application).and_then(|hooks| hooks.get(hook));
        plugins.into_iter().flatten().map(|(plugin, digest)| (plugin.clone(), *digest)).collect()
    }

    /// The applications that a plugin may touch: those it registered something for, and the one it runs in.
    pub(crate) fn applications_of(&self, plugin: &PluginName, running_in: &AppName) -> Arc<BTreeSet<AppName>> {
        match self.applications.get(plugin) {
            Some(applications) if applications.contains(running_in) => applications.clone(),
            other => {
                let registered = other.into_iter().flat_map(|applications| applications.iter());
                Arc::new(registered.chain([running_in]).cloned().collect())
            }
        }
    }
}

impl FoundAction {
    /// The action as its users see it.
    pub fn document(&self) -> PluginAction {
        let RegisteredAction { application: _, name, description, mut parameters, idempotent, timeout_seconds } =
            self.action.clone();
        let schema = PluginAction::schema_of(&parameters);
        parameters.retain(|parameter| !parameter.optional);
        PluginAction { name, description, plugin: self.plugin.clone(), parameters, idempotent, timeout_seconds, schema }
    }
}
