//! Hooks: named points of operations, at which plugins take part.
//!
//! An operation fixes which hooks will fire when it starts, with the digests of their components, so that an update in
//! mid-operation changes nothing. Each firing is a step that never runs a second time.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actions::failed;
use super::builds::not_stored;
use crate::datasvc::{Digest, FileLocation, JobError, Json, PluginName, patiently};
use crate::engine::{Journal, Run, StepResult};
use crate::plugin::{HookRun, Sandbox};
use crate::storage::{ShownFile, Storage, View};

/// Fires hooks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hooks {
    sandbox: Sandbox,
    storage: Storage,
}

/// Files of an upload that hooks can read: each run gets a view of its own.
pub(super) struct ShownFiles(
    /// Where in the store each is, and its name.
    pub(super) Vec<(FileLocation, String)>,
);

/// A named point, and the plugins that take part in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlannedHook {
    /// Such as `BUILD_UPLOAD_SUCCESS`.
    hook: String,
    /// In the order in which they run.
    plugins: Vec<PlannedPlugin>,
}

impl PlannedHook {
    /// Whether a plugin has this hook.
    pub(super) fn fires(&self) -> bool {
        !self.plugins.is_empty()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlannedPlugin {
    plugin: PluginName,
    digest: Digest,
}

/// What a plugin's hook came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fired {
    hook: String,
    plugin: PluginName,
    digest: Digest,
    #[serde(flatten)]
    outcome: FiredOutcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum FiredOutcome {
    Result(Json),
    Error(JobError),
}

impl Fired {
    /// Why it failed, if it did.
    pub(super) fn failure(&self) -> Option<&JobError> {
        match &self.outcome {
            FiredOutcome::Result(_) => None,
            FiredOutcome::Error(failure) => Some(failure),
        }
    }
}

impl Hooks {
    pub(super) fn new(sandbox: Sandbox, storage: Storage) -> Self {
        Self { sandbox, storage }
    }

    /// Fixes which plugins a hook of this job will run: those that have registered it by now, by name.
    pub(super) async fn plan(&self, run: &Run, journal: &Journal<'_>, hook: &str) -> StepResult<PlannedHook> {
        let planning = async {
            let application =
                run.claim.application().map_err(|error| JobError::internal("no hooks fire here", &error))?;
            let plugins = patiently(|| self.sandbox.plugins().hooks(application, hook)).await;
            let plugins = plugins.map_err(|error| JobError::internal("the hooks of a job cannot be read", &error))?;
            let plugins = plugins.into_iter().map(|(plugin, digest)| PlannedPlugin { plugin, digest }).collect();
            Ok(PlannedHook { hook: hook.to_owned(), plugins })
        };
        journal.repeatable(&format!("plan {hook}"), planning).await
    }

    /// Fires a hook: one plugin after the other, whatever became of those before. `files` are what each can read.
    pub(super) async fn fire(
        &self,
        run: &Run,
        journal: &Journal<'_>,
        planned: &PlannedHook,
        parameters: &Value,
        files: Option<&ShownFiles>,
    ) -> Vec<Fired> {
        self.fire_of(run, journal, planned, "", parameters, files).await
    }

    /// The same of a hook that fires several times in a job: each time it is `of` something else.
    pub(super) async fn fire_of(
        &self,
        run: &Run,
        journal: &Journal<'_>,
        planned: &PlannedHook,
        of: &str,
        parameters: &Value,
        files: Option<&ShownFiles>,
    ) -> Vec<Fired> {
        let hook = &planned.hook;
        let mut fired = Vec::new();
        if planned.fires() {
            run.room_for_guest().await;
        }
        for PlannedPlugin { plugin, digest } in &planned.plugins {
            let firing = async {
                let cancel = run.cancel.clone();
                let hook_run = HookRun {
                    claim: run.claim.clone(),
                    plugin: plugin.clone(),
                    digest: *digest,
                    hook: hook.clone(),
                    parameters: parameters.clone(),
                    log: run.log.clone(),
                    lease: run.lease.clone(),
                    cancel_requested: Box::new(move || cancel.is_requested()),
                    timeout: self.sandbox.plugins().limits().run_timeout(None),
                    files: self.view(files).await?,
                };
                self.sandbox.run_hook(hook_run).await.map_err(failed)
            };
            let outcome = match journal.once(format!("hook {hook} {plugin} {of}").trim_end(), firing).await {
                Ok(result) => FiredOutcome::Result(result),
                Err(failure) => FiredOutcome::Error(failure),
            };
            fired.push(Fired { hook: hook.clone(), plugin: plugin.clone(), digest: *digest, outcome });
        }
        fired
    }

    async fn view(&self, files: Option<&ShownFiles>) -> StepResult<Option<View>> {
        let Some(ShownFiles(files)) = files else { return Ok(None) };
        let shown = files.iter().cloned().map(|(FileLocation { upload, run, filename }, name)| ShownFile {
            folder: upload.into(),
            run,
            filename,
            name,
        });
        let view = self.storage.view(shown.collect()).await;
        view.map(Some).map_err(not_stored)
    }
}
