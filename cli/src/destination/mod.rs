//! Which server is talked to, and with which token.
//!
//! The explicit one wins: `ELITA_TOKEN`, then `--token-file`, then a named context, then the current one, then a server
//! on this machine. A token goes only to the server that it was made for.

mod local;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use url::Url;

pub(crate) use self::local::{Local, say_once};
use crate::config::{Config, Context, Credentials, refuse_readable};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::http::is_loopback;

/// Where a token came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Variable,
    File,
    Command,
    Stored,
    /// Of a server on this machine.
    Local,
}

/// A token, and where it came from.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) secret: String,
    kind: Kind,
    /// Such as "the token of the context `prod`".
    pub(crate) origin: String,
    pub(crate) username: Option<String>,
    /// RFC 3339, where that is known here.
    pub(crate) expires_at: Option<String>,
}

impl Token {
    fn new(kind: Kind, secret: &str, origin: impl Into<String>) -> Self {
        Self { secret: secret.trim().to_owned(), kind, origin: origin.into(), username: None, expires_at: None }
    }

    /// What to do when it is no longer valid: what was given wins over what `elita login` keeps.
    pub(crate) fn renewal(&self) -> &'static str {
        match self.kind {
            Kind::Variable => "a valid token in ELITA_TOKEN, or unset it and elita login",
            Kind::File => "a valid token in that file, or leave the file out and elita login",
            Kind::Command => "the `token_command` of the context prints an old token",
            Kind::Local => "./justw up, which makes a new one",
            Kind::Stored => "elita login",
        }
    }

    /// For messages; never the secret.
    pub(crate) fn shown(&self) -> String {
        match &self.username {
            Some(user) => format!("{}, user {user}", self.origin),
            None => self.origin.clone(),
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A server to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) token: Option<Token>,
    /// The context that it is from.
    pub(crate) context: Option<String>,
    pub(crate) app: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    /// The data directory of a server on this machine.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Target {
    /// Finds it.
    ///
    /// # Errors
    /// If no server is found, or the one that is found cannot be used.
    pub(crate) fn find(globals: &Globals) -> Result<Self> {
        let mut target = Self::find_any(globals)?;
        if globals.ca_file.is_some() {
            target.ca_file.clone_from(&globals.ca_file);
        }
        Ok(target)
    }

    fn find_any(globals: &Globals) -> Result<Self> {
        let server = globals.server.as_deref().map(|text| server_url(text, globals.plain_http)).transpose()?;
        if let Some(token) = explicit_token(globals)? {
            let url = server.ok_or_else(|| {
                Failure::usage("set ELITA_SERVER too: a token is sent only to its own server")
                    .hint("name the server with ELITA_SERVER or --server")
            })?;
            return Ok(Self::bare(url, Some(token)));
        }
        let config = Config::read()?;
        if let Some(url) = server {
            return Self::at(url, &config, globals);
        }
        if let Some(name) = globals.context.as_ref().or(config.current.as_ref()) {
            return Self::of_context(name, config.context(name)?, globals);
        }
        if let Some(local) = Local::find() {
            return Ok(local.target());
        }
        Err(Failure::new(
            Code::NotAllowed,
            "there is no server to talk to: you are not logged in, and no server of yours runs on this machine",
        )
        .hint("elita login URL, or ./justw up for a server to try"))
    }

    /// A server that was named: with what is known of it.
    fn at(url: Url, config: &Config, globals: &Globals) -> Result<Self> {
        let is_it = |context: &Context| server_url(&context.server, true).is_ok_and(|server| server == url);
        if let Some(name) = &globals.context {
            let context = config.context(name)?;
            if !is_it(context) {
                return Err(Failure::usage(format!("the context `{name}` is of another server than {url}"))
                    .hint("leave out --server or --context"));
            }
            return Self::of_context(name, context, globals);
        }
        if let Some((name, context)) = config.contexts.iter().find(|(_, context)| is_it(context)) {
            return Self::of_context(name, context, globals);
        }
        match Local::find() {
            Some(local) if local.url == url => Ok(local.target()),
            _ => Ok(Self::bare(url, None)),
        }
    }

    fn bare(url: Url, token: Option<Token>) -> Self {
        Self { url, token, context: None, app: None, ca_file: None, data_dir: None }
    }

    fn of_context(name: &str, context: &Context, globals: &Globals) -> Result<Self> {
        let url = server_url(&context.server, context.plain_http || globals.plain_http)?;
        let origin = format!("token of the context `{name}`");
        let token = match &context.token_command {
            Some(command) => Some(Token::new(Kind::Command, &printed_by(command)?, origin)),
            None => Credentials::read()?.get(name).filter(|stored| same_server(&stored.server, &url)).map(|stored| {
                Token { expires_at: Some(stored.expires_at.clone()), ..Token::new(Kind::Stored, &stored.token, origin) }
            }),
        };
        let token = token.map(|token| Token { username: context.username.clone(), ..token });
        Ok(Self {
            token,
            context: Some(name.to_owned()),
            app: context.app.clone(),
            ca_file: context.ca_file.clone(),
            ..Self::bare(url, None)
        })
    }
}

/// A token that was given by a variable or a file.
fn explicit_token(globals: &Globals) -> Result<Option<Token>> {
    if let Some(secret) = std::env::var("ELITA_TOKEN").ok().filter(|secret| !secret.trim().is_empty()) {
        return Ok(Some(Token::new(Kind::Variable, &secret, "token of ELITA_TOKEN")));
    }
    globals.token_file.as_deref().map(token_in).transpose()
}

fn token_in(path: &Path) -> Result<Token> {
    refuse_readable(path)?;
    let secret = std::fs::read_to_string(path).map_err(|error| Failure::file("read the token in", path, &error))?;
    Ok(Token::new(Kind::File, &secret, format!("token of {}", path.display())))
}

/// What `token_command` prints.
fn printed_by(command: &[String]) -> Result<String> {
    let [program, arguments @ ..] = command else { return Err(Failure::usage("`token_command` is empty")) };
    let output = Command::new(program).args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Failure::usage(format!("`token_command`: cannot run {program}: {error}")))?;
    if !output.status.success() {
        return Err(Failure::usage(format!("`token_command`: {program} ended with {}", output.status))
            .hint(format!("{} by hand, until it prints the token", command.join(" "))));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::usage("`token_command` printed no text"))
}

/// Reads the address of a server. `http://` is for this machine, unless it is asked for.
///
/// # Errors
/// If the text is not an address, or one that is not safe.
pub(crate) fn server_url(text: &str, plain_http: bool) -> Result<Url> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let none = || Failure::usage(format!("`{text}` is not an address of a server")).hint("https://elita.example.org");
    let mut url = Url::parse(&with_scheme).map_err(|_| none())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(none());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            Failure::usage("a user or a password in an address could be read by others").hint("elita login URL")
        );
    }
    if url.scheme() == "http" && !plain_http && !is_loopback(&url) {
        return Err(Failure::usage(format!("{url} is not encrypted: passwords and tokens could be read on the way"))
            .hint("use https://, or --plain-http if that is meant"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn same_server(stored: &str, url: &Url) -> bool {
    server_url(stored, true).is_ok_and(|stored| stored == *url)
}
