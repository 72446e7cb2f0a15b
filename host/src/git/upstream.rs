//! Repositories that others keep: a branch is fetched from them, and a commit is pushed to them.
//!
//! Git is told the address to connect to, which the caller has checked, follows no redirect, speaks no other protocol
//! than the URL's, and gets credentials by its environment or by an agent, never on a command line.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::command::{Call, tail};
use super::{CommitId, GitError, Repository};

/// How long a repository may take to say which branches it has.
const ASK_WITHIN: Duration = Duration::from_secs(60);
/// How much it may say to that, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A repository that others keep, and what it is reached with.
pub struct Upstream {
    url: String,
    protocol: &'static str,
    settings: Vec<(String, OsString)>,
    variables: Vec<(&'static str, String)>,
}

impl Upstream {
    /// One that is reached by SSH, with this command of a client.
    pub fn by_ssh(url: &str, command: &str) -> Self {
        let variables = vec![("GIT_SSH_COMMAND", command.to_owned()), ("GIT_SSH_VARIANT", "ssh".to_owned())];
        Self { url: url.to_owned(), protocol: "ssh", settings: Vec::new(), variables }
    }

    /// One that is reached by HTTPS or HTTP at this address of its host. `authorization` is the value of the header of
    /// that name. `authorities` is a file of the certificate authorities that are trusted, if not those of the machine.
    pub fn by_http(
        url: &str,
        (host, port, address): (&str, u16, IpAddr),
        authorization: Option<&str>,
        authorities: Option<&Path>,
    ) -> Self {
        let protocol = if url.starts_with("http:") { "http" } else { "https" };
        let mut settings: Vec<(String, OsString)> = vec![
            ("http.followRedirects".into(), "false".into()),
            ("http.proxy".into(), "".into()),
            ("http.sslVerify".into(), "true".into()),
            ("http.lowSpeedLimit".into(), "1".into()),
            ("http.lowSpeedTime".into(), "60".into()),
        ];
        if host.parse::<IpAddr>().is_err() && !host.starts_with('[') {
            settings.push(("http.curloptResolve".into(), format!("{host}:{port}:{address}").into()));
        }
        if let Some(authorization) = authorization {
            settings.push(("http.extraHeader".into(), format!("Authorization: {authorization}").into()));
        }
        if let Some(authorities) = authorities {
            settings.push(("http.sslCAInfo".into(), authorities.into()));
        }
        Self { url: url.to_owned(), protocol, settings, variables: Vec::new() }
    }

    /// One that is read by git's own protocol, at this address of its host; `path` is the URL's.
    pub fn by_git((host, port, address): (&str, u16, IpAddr), path: &str) -> Self {
        let at = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let variables = vec![("GIT_OVERRIDE_VIRTUAL_HOST", host.to_owned())];
        Self { url: format!("git://{at}:{port}{path}"), protocol: "git", settings: Vec::new(), variables }
    }

    fn call(&self, call: Call) -> Call {
        let mut call = call.variable("GIT_ALLOW_PROTOCOL", OsStr::new(self.protocol));
        for (name, value) in &self.variables {
            call = call.variable(name, OsStr::new(value));
        }
        self.settings.iter().fold(call, |call, (key, value)| call.setting(key, value))
    }
}

impl Repository {
    /// Makes sure that an upstream can be read.
    ///
    /// # Errors
    /// [`GitError::Upstream`].
    pub async fn contact(&self, upstream: &Upstream) -> Result<(), GitError> {
        let arguments = ["--quiet", "--heads", "--", &upstream.url, "refs/heads/elita-asks"].map(OsStr::new);
        let call = upstream.call(self.git.call("ls-remote", &arguments).within(ASK_WITHIN));
        call.output(MAX_ANSWER_BYTES).await.map(drop).map_err(explained)
    }

    /// Brings a branch to what it is upstream, whatever it is here. `None`: there is no such branch there, and now none
    /// here.
    ///
    /// # Errors
    /// [`GitError::Upstream`], and others of git.
    pub async fn fetch(
        &self,
        upstream: &Upstream,
        branch: &str,
        within: Duration,
    ) -> Result<Option<CommitId>, GitError> {
        self.must_exist().await?;
        let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
        let options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force", "--"];
        let mut arguments = options.map(OsStr::new).to_vec();
        arguments.extend([&*upstream.url, &refspec].map(OsStr::new));
        let call = upstream.call(self.git.call("fetch", &arguments).in_repository(&self.path).within(within));
        match call.output(MAX_ANSWER_BYTES).await {
            Ok(_) => self.tip(branch).await,
            Err(GitError::Failed { message, .. }) if message.contains("couldn't find remote ref") => {
                if self.tip(branch).await?.is_some() {
                    let reference = format!("refs/heads/{branch}");
                    let arguments = ["-d", &reference].map(OsStr::new);
                    self.git.call("update-ref", &arguments).in_repository(&self.path).output(MAX_ANSWER_BYTES).await?;
                }
                Ok(None)
            }
            Err(error) => Err(explained(error)),
        }
    }

    /// Has a branch upstream be at a commit that comes after what it is at.
    ///
    /// # Errors
    /// [`GitError::Moved`] if somebody else has changed the branch meanwhile; [`GitError::PushRefused`];
    /// [`GitError::Upstream`].
    pub async fn push(
        &self,
        upstream: &Upstream,
        branch: &str,
        commit: &CommitId,
        within: Duration,
    ) -> Result<(), GitError> {
        self.must_exist().await?;
        let refspec = format!("{commit}:refs/heads/{branch}");
        let options =
            ["--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--no-recurse-submodules", "--"];
        let mut arguments = options.map(OsStr::new).to_vec();
        arguments.extend([&*upstream.url, &refspec].map(OsStr::new));
        let call = upstream.call(self.git.call("push", &arguments).in_repository(&self.path));
        let mut running = call.start()?;
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let work = async {
            let (said, complaint) = tokio::join!(tail(stdout), tail(stderr));
            if running.wait().await?.success() {
                return Ok(());
            }
            Err(refusal(branch, &said, complaint))
        };
        tokio::time::timeout(within, work).await.unwrap_or(Err(GitError::TimedOut { what: "push", within }))
    }

    /// Whether a commit is here.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn has(&self, commit: &CommitId) -> Result<bool, GitError> {
        let object = format!("{commit}^{{commit}}");
        let arguments = ["-e", "--end-of-options", &object].map(OsStr::new);
        self.says(self.git.call("cat-file", &arguments)).await
    }

    /// Whether a commit comes after another one, or is it.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn contains(&self, commit: &CommitId, earlier: &CommitId) -> Result<bool, GitError> {
        let arguments = ["--is-ancestor", earlier.as_str(), commit.as_str()].map(OsStr::new);
        self.says(self.git.call("merge-base", &arguments)).await
    }

    async fn says(&self, call: Call) -> Result<bool, GitError> {
        match call.in_repository(&self.path).output(MAX_ANSWER_BYTES).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Why a push failed. For each branch there is a part such as `! <from>:<to> [rejected] (fetch first)`.
fn refusal(branch: &str, said: &str, complaint: String) -> GitError {
    let line = said.split("; ").find_map(|line| line.strip_prefix('!')?.split_once(&format!(":refs/heads/{branch}")));
    let Some((_, why)) = line else { return explained(GitError::Failed { what: "push", message: complaint }) };
    let moved = ["fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref"];
    if moved.iter().any(|reason| why.contains(reason)) {
        return GitError::Moved { branch: branch.to_owned() };
    }
    // What the other side's hooks say is why.
    let remote: Vec<_> =
        complaint.split("; ").filter_map(|line| line.strip_prefix("remote: ")).map(str::trim).collect();
    let why = [why.trim(), &remote.join("; ")].join(": ");
    GitError::PushRefused { branch: branch.to_owned(), why: why.trim_end_matches(": ").to_owned() }
}

/// What git says of another side that it could not talk to, with what can be done.
fn explained(error: GitError) -> GitError {
    let GitError::Failed { what, message } = error else { return error };
    let has = |text: &str| message.contains(text);
    let hint = if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("Host key verification failed") {
        let hint = "its SSH host shows another key than the one that is kept of it; if that is right, set the \
                    repository's `host_key` to the new one";
        return GitError::Upstream(format!("the repository was not contacted: {hint}"));
    } else if has("Permission denied (") {
        "its host does not take the repository's keypair; add the public key there, as one that may write if Elita \
         commits to it"
    } else if has("could not read Username") || has("Authentication failed") || has("error: 401") {
        "it asks for other credentials; give them to its git provider (`auth`)"
    } else if has("error: 403") {
        "its git provider's credentials may not do that"
    } else if has("error: 30") || has("redirect") {
        "it sends us elsewhere, and redirects are not followed; set the repository's `uri` to where it is"
    } else {
        ""
    };
    let said: String = message.chars().take(600).collect();
    let (before, hint) = if hint.is_empty() { ("", "") } else { (": ", hint) };
    GitError::Upstream(format!("git {what} failed{before}{hint} ({said})"))
}
