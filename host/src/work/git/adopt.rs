//! Repositories that come with a data directory which was copied, such as a restored backup: they become those of the new
//! host.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::datasvc::{GitUri, HostId, Result};
use crate::errors::Outage;
use crate::work::{Inner, Work};

/// For how long a host has to be silent before it counts as gone. One that lives says so every two seconds.
const SILENCE: Duration = Duration::from_secs(10);

/// Makes the repositories in this host's directory that were another host's its own, once that other host is silent.
pub async fn adopt_repositories(work: Work, former: HostId, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = adopt(&work.0, former) => {}
    }
}

async fn adopt(work: &Inner, former: HostId) {
    let (mut warned, mut outage) = (false, Outage::default());
    loop {
        match adopt_from(work, former).await {
            Ok(true) => return,
            Ok(false) if !warned => {
                warned = true;
                warn!(
                    "this data directory is a copy, and the host {former} that it was copied from still works: its git \
                       repositories stay that host's"
                );
            }
            Ok(false) => {}
            Err(problem) => {
                let what = format!("the git repositories of the host {former} were not taken over yet");
                outage.goes_on(&what, &problem);
            }
        }
        tokio::time::sleep(SILENCE).await;
    }
}

/// False: the other host lives.
async fn adopt_from(work: &Inner, former: HostId) -> Result<bool> {
    let there = work.svc.git_repos_on(former).await?;
    if there.is_empty() {
        return Ok(true);
    }
    let before = work.svc.beats_of(former).await?;
    if !before.is_empty() {
        tokio::time::sleep(SILENCE).await;
        if work.svc.beats_of(former).await? != before {
            return Ok(false);
        }
    }
    let home = &work.git_home;
    for old in there {
        let Some(new) = here(&old, &home.directory) else {
            warn!("the git repository {old} of the host {former} is not in this data directory, and stays that host's");
            continue;
        };
        work.svc.move_git_repos((former, &old), (home.host, &new)).await?;
        info!("the git repository {old} of the host {former} is now {new} of this one");
    }
    Ok(true)
}

/// Where a repository is in our directory, if it is there.
fn here(old: &GitUri, directory: &Path) -> Option<GitUri> {
    let path = directory.join(old.path_on_host()?.file_name()?);
    path.join("HEAD").exists().then(|| GitUri::parse(path.display().to_string()).ok())?
}
