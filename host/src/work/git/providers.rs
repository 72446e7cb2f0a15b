//! Making and removing repositories at git providers, by their APIs. A repository that is there already is taken for what
//! this job has made only where its description says so.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::escaped;
use super::upstream::unusable;
use crate::datasvc::{GitProviderName, GitProviderType, GitUri, JobError, JobErrorCode, ProviderAccess, patiently};
use crate::engine::{Run, StepResult};
use crate::outbound::{Reach, Request, RequestLimits, RequestPermit, is_inside};
use crate::work::Inner;

/// What one request may cost.
const LIMITS: RequestLimits = RequestLimits {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(60),
    between_bytes: Duration::from_secs(30),
    total: Duration::from_secs(90),
    request_bytes: 64 * 1024,
    response_bytes: 1024 * 1024,
};
/// How much of an answer is told.
const TOLD_CHARS: usize = 500;

/// The API of a git provider.
pub(super) struct ProviderApi<'a> {
    work: &'a Inner,
    run: &'a Run,
    name: &'a GitProviderName,
    access: ProviderAccess,
    api: Api,
    /// Where the API is, without a `/` at the end.
    at: String,
}

/// Whose API it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Api {
    GitHub,
    GitLab,
    Gitea,
    BitbucketCloud,
    BitbucketDataCenter,
}

impl Api {
    /// That of a provider, and where it is. `None`: the provider makes no repositories.
    fn of(kind: GitProviderType, base: Option<&str>) -> Option<(Self, String)> {
        let at = |base: &str, path: &str| format!("{}{path}", base.trim_end_matches('/'));
        Some(match (kind, base) {
            (GitProviderType::GitHub, None) => (Self::GitHub, "https://api.github.com".to_owned()),
            (GitProviderType::GitHub, Some(base)) => (Self::GitHub, at(base, "/api/v3")),
            (GitProviderType::GitLab, base) => (Self::GitLab, at(base.unwrap_or("https://gitlab.com"), "/api/v4")),
            (GitProviderType::Gitea, Some(base)) => (Self::Gitea, at(base, "/api/v1")),
            (GitProviderType::Bitbucket, None) => (Self::BitbucketCloud, "https://api.bitbucket.org/2.0".to_owned()),
            (GitProviderType::Bitbucket, Some(base)) => (Self::BitbucketDataCenter, at(base, "/rest/api/1.0")),
            (GitProviderType::Gitea, None)
            | (GitProviderType::Local | GitProviderType::Other | GitProviderType::Unknown, _) => return None,
        })
    }

    /// Where it has a repository.
    fn path(self, owner: &str, name: &str) -> String {
        match self {
            Self::GitHub | Self::Gitea => format!("/repos/{owner}/{name}"),
            Self::GitLab => format!("/projects/{}", escaped(&format!("{owner}/{name}"))),
            Self::BitbucketCloud => format!("/repositories/{owner}/{name}"),
            Self::BitbucketDataCenter => format!("/projects/{}/repos/{name}", project(owner)),
        }
    }

    /// Where a private and empty repository is asked for, and with what. `is` is what the provider says of the owner.
    fn creation(self, owner: &str, name: &str, is: Owner) -> (String, Value) {
        match (self, is) {
            (Self::GitHub | Self::Gitea, is) => {
                let path = if is == Owner::Caller { "/user/repos".to_owned() } else { format!("/orgs/{owner}/repos") };
                (path, json!({ "name": name, "private": true, "auto_init": false }))
            }
            (Self::GitLab, is) => {
                let mut body = json!({ "name": name, "path": name, "visibility": "private" });
                if let Owner::Namespace(id) = is {
                    body["namespace_id"] = json!(id);
                }
                ("/projects".to_owned(), body)
            }
            (Self::BitbucketCloud, _) => (self.path(owner, name), json!({ "scm": "git", "is_private": true })),
            (Self::BitbucketDataCenter, _) => {
                let body = json!({ "name": name, "scmId": "git", "public": false });
                (format!("/projects/{}/repos", project(owner)), body)
            }
        }
    }

    /// What every request says. `basic` is a username with its password.
    fn headers(self, token: Option<&str>, basic: Option<&str>) -> Vec<(&'static str, String)> {
        let accepted = if self == Self::GitHub { "application/vnd.github+json" } else { "application/json" };
        let mut headers = vec![
            ("user-agent", concat!("elita/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("accept", accepted.to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        if self == Self::GitHub {
            headers.push(("x-github-api-version", "2022-11-28".to_owned()));
        }
        headers.extend(match (self, token) {
            (Self::GitLab, Some(token)) => Some(("private-token", token.to_owned())),
            (Self::Gitea, Some(token)) => Some(("authorization", format!("token {token}"))),
            (_, Some(token)) => Some(("authorization", format!("Bearer {token}"))),
            (_, None) => basic.map(|basic| ("authorization", format!("Basic {}", STANDARD.encode(basic)))),
        });
        headers
    }
}

/// What the owner of a repository is to its provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    /// The account of the credentials.
    Caller,
    /// An organization, workspace or project.
    Organization,
    /// A namespace of GitLab, by its id.
    Namespace(i64),
}

/// What a provider answered.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl<'a> ProviderApi<'a> {
    pub(super) async fn open(work: &'a Inner, name: &'a GitProviderName, run: &'a Run) -> StepResult<Self> {
        let access = patiently(|| work.svc.provider_access(name)).await.map_err(|error| unusable(&error))?;
        let api = Api::of(access.kind, access.base_url.as_ref().map(|url| url.as_str()));
        let (api, at) = api.ok_or_else(|| refused(format!("git provider `{name}` makes no repositories")))?;
        Ok(Self { work, run, name, access, api, at })
    }

    /// Makes a repository, which is private and empty.
    pub(super) async fn create(&self, uri: &GitUri) -> StepResult<()> {
        let (owner, name) = owner_and_name(uri)?;
        let is = match self.api {
            Api::GitHub | Api::Gitea if self.is_own(&owner).await? => Owner::Caller,
            Api::GitLab => {
                let namespace = self.ask("GET", &format!("/namespaces/{}", escaped(&owner)), None).await?;
                let Some(id) = namespace.body["id"].as_i64().filter(|_| namespace.is_success()) else {
                    return Err(self.refusal(&format!("there is no namespace `{owner}` that it may use"), &namespace));
                };
                Owner::Namespace(id)
            }
            _ => Owner::Organization,
        };
        let (path, mut body) = self.api.creation(&owner, &name, is);
        body["description"] = json!(self.description());
        let made = self.ask("POST", &path, Some(&body)).await?;
        if made.is_success() {
            return Ok(());
        }
        // An earlier try may have made it.
        let there = self.ask("GET", &self.api.path(&owner, &name), None).await?;
        if there.is_success() && there.body["description"] == json!(self.description()) {
            return Ok(());
        }
        if there.is_success() {
            let why = format!("it has a repository `{owner}/{name}` already, which this job has not made");
            return Err(self.refusal(&why, &made));
        }
        Err(self.refusal(&format!("the repository `{owner}/{name}` was not made"), &made))
    }

    /// Removes a repository. One that is gone is as good.
    pub(super) async fn remove(&self, uri: &GitUri) -> StepResult<()> {
        let (owner, name) = owner_and_name(uri)?;
        let removed = self.ask("DELETE", &self.api.path(&owner, &name), None).await?;
        match removed.status {
            200..300 | 404 => Ok(()),
            _ => Err(self.refusal(&format!("the repository `{owner}/{name}` was not removed"), &removed)),
        }
    }

    /// Whether the credentials are this owner's own: then the repository is not an organization's.
    async fn is_own(&self, owner: &str) -> StepResult<bool> {
        let user = self.ask("GET", "/user", None).await?;
        // Tokens of applications are no user's.
        let login = user.body["login"].as_str().filter(|_| user.is_success());
        Ok(login.is_some_and(|login| login.eq_ignore_ascii_case(owner)))
    }

    fn description(&self) -> String {
        format!("Made by Elita, job {}", self.run.claim.job_id)
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> StepResult<Answer> {
        let url = format!("{}{path}", self.at);
        if url.starts_with("http:") && !is_inside(&url, &self.work.svc.git_hosts()) {
            return Err(refused(format!("credentials are sent to git provider `{}` by `https` only", self.name)));
        }
        let mut request = Request::builder().method(method).uri(&url);
        let token = self.access.auth.as_ref().and_then(|auth| auth.token());
        let login = self.access.login().map(|(username, password)| format!("{username}:{password}"));
        for (name, value) in self.api.headers(token, login.as_deref()) {
            request = request.header(name, value);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        let request =
            request.map_err(|error| JobError::internal("a request to a git provider cannot be made", &error))?;
        let permit = Arc::clone(&self.work.fetches).acquire_owned().await;
        let permit = permit.map_err(|error| JobError::internal("a request to a git provider has no place", &error))?;
        let permit = RequestPermit::new(format!("git provider {}", self.name), permit);
        let hosts = self.work.svc.git_hosts();
        let response = self.work.outbound.send(request, Reach::PublicAnd(&hosts), LIMITS, &permit).await;
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("git provider `{}` cannot be asked: {error}", self.name);
            JobError::new(JobErrorCode::GitUnreachable, message)
        };
        let response = response.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Answer { status, body })
    }

    /// What the provider says, in its own words as far as there are any.
    fn refusal(&self, what: &str, answer: &Answer) -> JobError {
        let Answer { status, body } = answer;
        let said = ["/message", "/error/message", "/errors/0/message", "/error"];
        let said = said.iter().find_map(|place| body.pointer(place)).unwrap_or(body);
        let mut said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        // GitHub says in a list what is wrong.
        if let Some(detail) = body.pointer("/errors/0/message").and_then(Value::as_str).filter(|detail| *detail != said)
        {
            said = format!("{said} {detail}");
        }
        let said: String = said.chars().filter(|c| !c.is_control()).take(TOLD_CHARS).collect();
        refused(format!("git provider `{}`: {what} (it answered {status}: {said})", self.name))
    }
}

fn owner_and_name(uri: &GitUri) -> StepResult<(String, String)> {
    uri.owner_and_name().ok_or_else(|| refused("its URI says no owner and no name".into()))
}

fn refused(message: String) -> JobError {
    JobError::new(JobErrorCode::GitProviderRefused, message)
}

/// A project of Bitbucket Data Center: `scm/PROJECT/name` over HTTP, `PROJECT/name` over SSH.
fn project(owner: &str) -> &str {
    owner.rsplit('/').next().unwrap_or(owner)
}

#[cfg(test)]
mod tests;
