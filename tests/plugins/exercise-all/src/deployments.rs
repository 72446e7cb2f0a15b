//! `deployments`. A test makes the gitdeploys `deployed` and `staged` on the server `exercise-here`, the group `stages` that
//! has one after the other, and the build.

use std::thread;
use std::time::Duration;

use elita_plugin::deployments::{self, Intention, NewDeployment, Status};
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let new = NewDeployment::to_servers("uploaded", ["exercise-here"], ["deployed"]).max_failures(1);
    let plan = deployments::plan(APPLICATION, &Intention::Start(new.clone()));
    let agreed = plan.as_ref().ok().map(|plan| plan.hash.clone());
    let start = deployments::start(APPLICATION, &new, agreed.as_deref());
    let get = ended(&start);
    // Its second batch waits for longer than anyone does.
    let stages = NewDeployment::to_groups("uploaded", ["testing"], ["stages"]).rolling_divisor(1).ordered_pause(3600);
    let staged = deployments::start(APPLICATION, &stages, None);
    let cancel = until(&staged, |deployment| deployment.document["summary"]["succeeded"] == 1)
        .and_then(|deployment| deployments::cancel(APPLICATION, &deployment.id));
    let of = ended(&staged).map(|deployment| deployment.id);
    let of = |task: fn(&str, &str, Option<&str>) -> Result<String>| match &of {
        Ok(id) => answer(task(APPLICATION, id, None)),
        Err(problem) => json!({ "error": problem.to_string() }),
    };
    vec![
        ("deployments.plan", answer(plan)),
        ("deployments.start", answer(start)),
        ("deployments.get", answer(get)),
        ("deployments.cancel", answer(cancel)),
        ("deployments.resume", of(deployments::resume)),
        ("deployments.rollback", of(deployments::rollback)),
        ("deployments.list", listed(deployments::list(APPLICATION))),
    ]
}

/// A deployment, once it has ended.
fn ended(started: &Result<String>) -> Result<deployments::Deployment> {
    until(started, |deployment| !matches!(deployment.status, Status::Created | Status::Running))
}

fn until(
    started: &Result<String>,
    is_so: impl Fn(&deployments::Deployment) -> bool,
) -> Result<deployments::Deployment> {
    let id = started.as_ref().map_err(|problem| Error::new(problem.to_string()))?;
    loop {
        let deployment = deployments::get(APPLICATION, id)?;
        if is_so(&deployment) || deployment.completed_at.is_some() {
            return Ok(deployment);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
