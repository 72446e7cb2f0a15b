//! What the active plugins have registered, found by name. Knows the data services, and nothing of components or runs.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Catalog, FoundAction};
use crate::datasvc::{
    ActionName, AppName, Caller, DataSvc, Digest, Error, Listed, Noun, Page, PluginAction, PluginName, Result,
};

/// The catalog, brought up to date where that matters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registered {
    svc: DataSvc,
    catalog: Arc<RwLock<Arc<Catalog>>>,
}

impl Registered {
    /// Empty until it is refreshed.
    pub(crate) fn new(svc: DataSvc) -> Self {
        Self { svc, catalog: Arc::default() }
    }

    /// The catalog as it was last read.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what the active plugins register, if that has changed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn refresh(&self) -> Result<Arc<Catalog>> {
        // Read first: a change in between is seen again the next time.
        let revision = self.svc.plugin_revision().await?;
        let known = self.catalog();
        if revision == known.revision {
            return Ok(known);
        }
        let catalog = Catalog::new(revision, self.svc.active_plugins().await?);
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        // Several may read at once, and the slowest of them may have read first.
        if catalog.revision > current.revision {
            *current = Arc::new(catalog);
        }
        Ok(current.clone())
    }

    /// The actions of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::Denied`] without read permission.
    pub(crate) async fn actions(
        &self,
        caller: &Caller,
        application: &AppName,
        page: &Page,
    ) -> Result<Listed<PluginAction>> {
        self.svc.application(caller, application).await?;
        let catalog = self.refresh().await?;
        Ok(page.of(catalog.actions(application), |action| action.name.as_str()))
    }

    /// One action of an application.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::Denied`] without read permission.
    pub(crate) async fn action(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
    ) -> Result<Arc<FoundAction>> {
        self.svc.application(caller, application).await?;
        let found = self.find_action(application, action).await?;
        found.ok_or_else(|| Error::not_found(Noun::Action, action))
    }

    /// The action, also of a plugin that has become active since the catalog was read, here or on another host.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn find_action(
        &self,
        application: &AppName,
        action: &ActionName,
    ) -> Result<Option<Arc<FoundAction>>> {
        if let Some(found) = self.catalog().action(application, action) {
            return Ok(Some(found));
        }
        Ok(self.refresh().await?.action(application, action))
    }

    /// The plugins that have registered a hook for an application, in order of their names, with their active
    /// components.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn hooks(&self, application: &AppName, hook: &str) -> Result<Vec<(PluginName, Digest)>> {
        Ok(self.refresh().await?.hooks(application, hook))
    }

    /// The applications that a plugin may touch while it runs in one of them.
    pub(crate) fn applications_of(&self, plugin: &PluginName, running_in: &AppName) -> Arc<BTreeSet<AppName>> {
        self.catalog().applications_of(plugin, running_in)
    }
}
