//! Serving repositories of this server's disk to git clients, to read only.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::datasvc::{AppName, Caller, Error, GitRepoName, HostId, Permission};
use crate::git::{GitError, Repository, Served};
use crate::work::Work;

/// How many clients are served at a time. Others wait: git does not ask again.
const PLACES: usize = 32;
/// How long one waits at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// Places of clients that are served.
#[derive(Clone)]
pub(in crate::work) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

/// Who wants to read a repository.
#[derive(Clone, Debug)]
pub enum GitReader {
    /// A user.
    Caller(Caller),
    /// A server, whose token reads this repository.
    Server(AppName, GitRepoName),
}

/// Why a repository is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data services say no.
    #[error(transparent)]
    Refused(#[from] Error),
    /// It is on the disk of another host.
    #[error("the repository is on the disk of host {0}, and is served there only")]
    Elsewhere(HostId),
    /// It is at a git provider.
    #[error("the repository is at its git provider; clone it from there")]
    AtProvider,
    /// Too many clients waited for too long.
    #[error("too many clients are served; try again later")]
    Busy,
    /// Git failed. Not for users' eyes.
    #[error("git failed: {0}")]
    Git(#[from] GitError),
}

/// A repository for one client, which has its place.
pub struct ServedRepository {
    repository: Repository,
    place: OwnedSemaphorePermit,
}

/// What a client gets. Its place is free once this is dropped.
pub struct ServedPart {
    content: Served,
    _place: OwnedSemaphorePermit,
}

impl Work {
    /// Who a token in a git client's password stands for; `None` if it is not a token of a server.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn git_server(&self, token: &str) -> Result<Option<GitReader>, Error> {
        let found = self.0.svc.repo_of_git_token(token).await?;
        Ok(found.map(|(application, repo)| GitReader::Server(application, repo)))
    }

    /// A repository for a client that may read it, once there is a place for it.
    ///
    /// # Errors
    /// [`ServeError`]; [`Error::NotFound`] also where the token is another repository's.
    pub async fn serve_repository(
        &self,
        reader: &GitReader,
        application: &AppName,
        name: &GitRepoName,
    ) -> Result<ServedRepository, ServeError> {
        match reader {
            GitReader::Caller(caller) => caller.require(Permission::Read, application)?,
            GitReader::Server(of, repo) if (of, repo) == (application, name) => {}
            GitReader::Server(..) => return Err(Error::not_found(crate::datasvc::Noun::GitRepo, name).into()),
        }
        let place = self.0.svc.git_repo_for_work(application, name).await?;
        place.must_be_ready(name)?;
        let repository = match (self.0.local(&place), place.host) {
            (Some(repository), _) => repository,
            (None, Some(host)) => return Err(ServeError::Elsewhere(host)),
            (None, None) => return Err(ServeError::AtProvider),
        };
        let places = Arc::clone(&self.0.git_places.0);
        let place = tokio::time::timeout(PATIENCE, places.acquire_owned()).await;
        let place = place.map_err(|_| ServeError::Busy)?.map_err(|_| ServeError::Busy)?;
        Ok(ServedRepository { repository, place })
    }
}

impl ServedRepository {
    /// Which branches there are.
    ///
    /// # Errors
    /// [`ServeError::Git`].
    pub async fn advertise(self, protocol: Option<&str>) -> Result<ServedPart, ServeError> {
        let content = self.repository.advertise(protocol).await?;
        Ok(ServedPart { content, _place: self.place })
    }

    /// What a client has asked for.
    ///
    /// # Errors
    /// [`ServeError::Git`].
    pub async fn answer(self, protocol: Option<&str>, asked: Bytes) -> Result<ServedPart, ServeError> {
        let content = self.repository.serve(protocol, stream::iter([Ok(asked)])).await?;
        Ok(ServedPart { content, _place: self.place })
    }
}

impl Stream for ServedPart {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.content.poll_next_unpin(context)
    }
}
