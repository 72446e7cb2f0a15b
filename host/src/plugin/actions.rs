//! Actions, for both doors: which there are, and how a request for one becomes a job.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::{FoundAction, Plugins};
use crate::datasvc::{
    ActionName, AppName, Caller, Error, Kind, Listed, NewActionJob, Page, Parent, PluginAction, Result,
};

/// What was asked of an action: the `data` of its job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// In the order of the request, repeats and all.
    pub parameters: Vec<(String, String)>,
}

impl Plugins {
    /// The actions of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::Denied`] without read permission.
    pub async fn actions(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<PluginAction>> {
        self.0.svc.application(caller, application).await?;
        self.refresh().await?;
        Ok(page.of(self.catalog().actions(application), |action| action.name.as_str()))
    }

    /// One action of an application.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::Denied`] without read permission.
    pub async fn action(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
    ) -> Result<Arc<FoundAction>> {
        self.0.svc.application(caller, application).await?;
        let found = self.find_action(application, action).await?;
        found.ok_or_else(|| Error::not_found(Kind::Action, action))
    }

    /// The action, also of a plugin that has become active since the catalog was read, here or on another host.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn find_action(&self, application: &AppName, action: &ActionName) -> Result<Option<Arc<FoundAction>>> {
        if let Some(found) = self.catalog().action(application, action) {
            return Ok(Some(found));
        }
        self.refresh().await?;
        Ok(self.catalog().action(application, action))
    }

    /// The job that a request for an action becomes; `parent` is the job that asks for it, if it is one.
    ///
    /// # Errors
    /// [`Error::MissingParameters`] if not all declared ones are there; [`Error::TooMany`] if too many jobs are above
    /// it.
    pub fn new_job(
        &self,
        found: &FoundAction,
        parameters: Vec<(String, String)>,
        parent: Option<Parent>,
    ) -> Result<NewActionJob> {
        let declared = found.action.parameters.iter().map(|parameter| &parameter.name);
        let missing: Vec<_> =
            declared.filter(|name| !parameters.iter().any(|(given, _)| given == *name)).cloned().collect();
        if !missing.is_empty() {
            return Err(Error::MissingParameters { missing });
        }
        if let Some(parent) = parent {
            parent.check()?;
        }
        Ok(NewActionJob {
            application: found.action.application.clone(),
            action: found.action.name.clone(),
            plugin: found.plugin.clone(),
            digest: found.digest,
            idempotent: found.action.idempotent,
            timeout: self.limits().run_timeout(found.action.timeout_seconds),
            data: to_raw_value(&Asked { parameters }).map_err(Error::internal)?,
            idempotency: None,
            taker: None,
            parent,
            rerun_of: None,
        })
    }
}
