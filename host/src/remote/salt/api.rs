//! salt-api over HTTP: logging in, asking, and the stream of events.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use crate::errors::chain;

/// How long a connection may take to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take. One that takes longer is looked for in another way.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long the stream of events may be silent before it is opened anew: a master that nobody uses says nothing.
const SILENCE: Duration = Duration::from_secs(300);
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Requests under way. Each takes salt-api a thread and the master a process.
const AT_A_TIME: usize = 4;
/// How long a log-in that was refused is not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// How much of what salt-api says in an error is told, in characters.
const TOLD_CHARS: usize = 200;

/// How salt-api is reached.
#[derive(Clone)]
pub struct SaltSettings {
    /// Its URL.
    pub url: Url,
    /// How users are checked there, such as `pam` or `sharedsecret`.
    pub eauth: String,
    /// Who logs in.
    pub username: String,
    /// Their password.
    pub password: String,
    /// Certificates that are trusted in addition to those of this machine, as PEM.
    pub authorities: Option<Vec<u8>>,
}

/// The password is shown nowhere.
impl fmt::Debug for SaltSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaltSettings").field("url", &self.url.as_str()).field("username", &self.username).finish()
    }
}

/// Why salt-api gave no answer.
#[derive(Clone, Debug)]
pub(super) enum ApiError {
    /// It was not reached: nothing was asked.
    Unreachable(String),
    /// It does not do what it was asked for.
    Refused(String),
    /// It was asked, and nobody knows whether it did it.
    Unclear(String),
}

impl ApiError {
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Unreachable(why) | Self::Refused(why) | Self::Unclear(why) => why,
        }
    }
}

/// A Salt master, by its salt-api.
pub(super) struct Api {
    http: Client,
    settings: SaltSettings,
    login: Mutex<Login>,
    places: Semaphore,
}

/// The log-in that all requests share.
#[derive(Default)]
struct Login {
    token: Option<Arc<str>>,
    refused: Option<(Instant, ApiError)>,
}

#[derive(Deserialize)]
struct Answer<T> {
    r#return: [T; 1],
}

#[derive(Deserialize)]
struct LoggedIn {
    token: String,
}

impl Api {
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn new(settings: SaltSettings) -> Result<Self, String> {
        let mut http = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .redirect(Policy::none())
            // The settings say where salt-api is, and nobody else.
            .no_proxy();
        if let Some(pem) = &settings.authorities {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
            if authorities.is_empty() {
                return Err("there is no certificate in the file".into());
            }
            http = http.tls_certs_merge(authorities);
        }
        let http = http.build().map_err(|error| chain(&error))?;
        Ok(Self { http, settings, login: Mutex::default(), places: Semaphore::new(AT_A_TIME) })
    }

    /// Asks for one thing, as a "low state". Logs in where that is needed.
    pub(super) async fn ask(&self, low: &Value) -> Result<Value, ApiError> {
        let body = serde_json::to_vec(&[low]).map_err(|error| ApiError::Refused(error.to_string()))?;
        let _place = self.places.acquire().await;
        let ask = |token: Arc<str>| {
            let body = body.clone();
            async move {
                let request = self.request(Method::POST, "").header("X-Auth-Token", &*token).body(body);
                let within = tokio::time::timeout(ANSWER_WITHIN, async {
                    let response = request.send().await.map_err(told)?;
                    let status = response.status();
                    Ok::<_, ApiError>((status, whole(response).await?))
                });
                within.await.map_err(|_| {
                    ApiError::Unclear(format!("salt-api gave no answer within {} s", ANSWER_WITHIN.as_secs()))
                })?
            }
        };
        let mut token = self.token(None).await?;
        let (mut status, mut text) = ask(token.clone()).await?;
        if status == StatusCode::UNAUTHORIZED {
            token = self.token(Some(&token)).await?;
            (status, text) = ask(token).await?;
        }
        check(status, &text)?;
        let unread = |error| ApiError::Unclear(format!("salt-api's answer is not what is expected of it: {error}"));
        let Answer { r#return: [answer] } = serde_json::from_slice(&text).map_err(unread)?;
        Ok(answer)
    }

    /// Opens the stream of events.
    pub(super) async fn events(&self) -> Result<Response, ApiError> {
        let open = async |token: Arc<str>| {
            let request = self.request(Method::GET, "events").header("X-Auth-Token", &*token);
            let opened = tokio::time::timeout(ANSWER_WITHIN, request.header(ACCEPT, "text/event-stream").send()).await;
            opened.map_err(|_| ApiError::Unclear("salt-api opens no stream of events".into()))?.map_err(told)
        };
        let mut token = self.token(None).await?;
        let mut response = open(token.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            token = self.token(Some(&token)).await?;
            response = open(token).await?;
        }
        if !response.status().is_success() {
            let status = response.status();
            check(status, &whole(response).await?)?;
            return Err(ApiError::Refused(format!(
                "salt-api answers {status} where it should open a stream of events"
            )));
        }
        Ok(response)
    }

    /// The next piece of the stream; `None` at its end.
    pub(super) async fn piece(stream: &mut Response) -> Result<Option<bytes::Bytes>, ApiError> {
        match tokio::time::timeout(SILENCE, stream.chunk()).await {
            Ok(piece) => piece.map_err(told),
            Err(_) => Ok(None),
        }
    }

    /// A token that is not this one, which has ended. Whoever needs one waits for the same log-in.
    async fn token(&self, ended: Option<&Arc<str>>) -> Result<Arc<str>, ApiError> {
        let mut login = self.login.lock().await;
        match &login.token {
            Some(token) if Some(token) != ended => return Ok(token.clone()),
            _ => {}
        }
        if let Some((at, why)) = &login.refused
            && at.elapsed() < REFUSED_FOR
        {
            return Err(why.clone());
        }
        login.token = None;
        match self.log_in().await {
            Ok(token) => {
                *login = Login { token: Some(token.clone()), refused: None };
                Ok(token)
            }
            Err(why) => {
                login.refused = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn log_in(&self) -> Result<Arc<str>, ApiError> {
        let SaltSettings { eauth, username, password, .. } = &self.settings;
        let body = json!({ "username": username, "password": password, "eauth": eauth }).to_string();
        // Nothing was done, whatever becomes of a log-in.
        let failed = |why: &str| ApiError::Unreachable(format!("logging in to salt-api as `{username}` failed: {why}"));
        let logged_in = tokio::time::timeout(ANSWER_WITHIN, async {
            let response = self.request(Method::POST, "login").body(body).send().await.map_err(told)?;
            Ok((response.status(), whole(response).await?))
        });
        let logged_in: Result<_, ApiError> = logged_in.await.map_err(|_| failed("it gives no answer"))?;
        let (status, text) = logged_in.map_err(|error| failed(error.why()))?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(ApiError::Refused(format!(
                "salt-api does not take the user `{username}` with their password by `{eauth}`; see --salt-username, \
                 --salt-password-file and --salt-eauth"
            )));
        }
        check(status, &text).map_err(|error| failed(error.why()))?;
        match serde_json::from_slice(&text) {
            Ok(Answer { r#return: [LoggedIn { token }] }) => Ok(token.into()),
            // It may have the password in it.
            Err(_) => Err(failed("its answer is not what is expected of it")),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(path);
        }
        self.http.request(method, url).header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json")
    }
}

/// Whether an answer is one.
fn check(status: StatusCode, text: &[u8]) -> Result<(), ApiError> {
    if status.is_success() {
        return Ok(());
    }
    let why = format!("salt-api answers {status}{}", said(text));
    // What it answers before it does anything, and what may come in the middle of it.
    Err(if status.is_client_error() || status.is_redirection() {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; see `external_auth` and `netapi_enable_clients` of the master for what its user may do"
            }
            StatusCode::PAYLOAD_TOO_LARGE => "; see `max_request_body_size` of `rest_cherrypy`",
            _ => "",
        };
        ApiError::Refused(format!("{why}{hint}"))
    } else {
        ApiError::Unclear(why)
    })
}

/// What a page of an error says, as far as it is for people.
fn said(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(16 * 1024)]);
    let between = |from: &str, to: &str| text.split_once(from).and_then(|(_, rest)| rest.split_once(to));
    match between("<p>", "</p>") {
        Some((said, _)) if !said.trim().is_empty() => {
            format!(": {}", said.trim().chars().take(TOLD_CHARS).collect::<String>())
        }
        _ => String::new(),
    }
}

/// All of an answer.
async fn whole(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(told)? {
        if text.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(ApiError::Unclear(format!("salt-api's answer is longer than {MAX_ANSWER_BYTES} bytes")));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// Where an error came from, without the URL.
fn told(error: reqwest::Error) -> ApiError {
    let is_early = error.is_connect() || error.is_builder();
    let why = format!("salt-api: {}", chain(&error.without_url()));
    if is_early { ApiError::Unreachable(why) } else { ApiError::Unclear(why) }
}
