//! Removes what is left of repositories: the directories of those whose application was removed, and this host's copies
//! of those that are registered no more.

use time::OffsetDateTime;
use tracing::{info, warn};

use super::upstream::Upstreams;
use crate::datasvc::Result;
use crate::git::Repository;
use crate::work::Inner;

/// Removes what is left, where its application was removed before this time.
pub(in crate::work) async fn sweep(work: &Inner, before: OffsetDateTime) {
    if let Err(problem) = remove_remains(work, before).await.and(remove_copies(work).await) {
        warn!("it could not be told which git repositories are left over: {problem}");
    }
}

async fn remove_remains(work: &Inner, before: OffsetDateTime) -> Result<()> {
    let host = work.git_home.host;
    for uri in work.svc.git_remains(host, before).await? {
        // Only what was made in our own directory is ours to remove.
        let path = uri.path_on_host().filter(|path| path.parent() == Some(&*work.git_home.directory));
        if let Some(path) = path {
            if let Err(problem) = Repository::at(work.git.clone(), &path).remove().await {
                warn!("the git repository {} of a removed application stays: {problem}", path.display());
                continue;
            }
            info!("the git repository {} was removed, whose application was removed", path.display());
        }
        work.svc.forget_git_remains(host, &uri).await?;
    }
    Ok(())
}

async fn remove_copies(work: &Inner) -> Result<()> {
    let kept = work.svc.mirrored_git_repos().await?;
    let kept: Vec<_> = kept.iter().map(|(application, repo, uri)| Upstreams::name(application, repo, uri)).collect();
    match work.upstreams.remove_others(&work.git, &kept).await {
        Ok(0) => {}
        Ok(count) => info!("{count} copies of git repositories were removed that are registered no more"),
        Err(problem) => warn!("copies of git repositories that are registered no more stay: {problem}"),
    }
    Ok(())
}
