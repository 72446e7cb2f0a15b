//! Where git can clone a repository from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

/// The longest URI, in bytes.
const MAX_BYTES: usize = 2048;
const SSH_PORT: u16 = 22;
const GIT_PORT: u16 = 9418;
/// What git speaks and this service offers. Its others, such as `ext::`, run commands.
const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

/// What the large providers publish as the keys of their SSH hosts, so that not even the first contact is by trust.
const KNOWN_HOSTS: [(&str, &str); 3] = [
    ("github.com", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
    ("gitlab.com", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf"),
    ("bitbucket.org", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO"),
];

/// What git can clone from: a URL, `user@host:path`, or an absolute path. It holds no secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, format = "git-uri", max_length = 2048, example = "git@git.example.com:shop/site.git")]
pub struct GitUri(String);

impl GitUri {
    /// Takes a URI as it came from outside. The error says what is wrong with it.
    ///
    /// # Errors
    /// If git cannot clone from it, would take it for something else, or if it holds a password.
    pub fn parse(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        check(&text).map(|()| Self(text))
    }

    /// The URI as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path on this machine, if it is one.
    pub fn path_on_host(&self) -> Option<PathBuf> {
        if self.0.starts_with('/') {
            return Some(PathBuf::from(&self.0));
        }
        self.url().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok())
    }

    /// The URL, if it is written as one.
    pub fn url(&self) -> Option<Url> {
        Some(&self.0)
            .filter(|text| text.contains("://") && !text.starts_with('/'))
            .and_then(|text| Url::parse(text).ok())
    }

    /// The owner and the name that a git provider knows a repository by: the last parts of the path, without `.git`. An
    /// owner may have several parts. `None`: it has no owner.
    pub fn owner_and_name(&self) -> Option<(String, String)> {
        let path = match self.url() {
            Some(url) => url.path().to_owned(),
            None => self.0.split_once('@')?.1.rsplit_once(':')?.1.to_owned(),
        };
        let (owner, name) = path.trim_matches('/').rsplit_once('/')?;
        let name = name.strip_suffix(".git").unwrap_or(name);
        let is_plain = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte))
                && !matches!(part, "" | "." | "..")
        };
        (owner.split('/').all(is_plain) && is_plain(name)).then(|| (owner.to_owned(), name.to_owned()))
    }

    /// Whether it is reached by SSH.
    pub fn is_ssh(&self) -> bool {
        match self.url() {
            Some(url) => url.scheme() == "ssh",
            None => !self.0.starts_with('/'),
        }
    }

    /// The only key that its host may show, where the host is one that everybody knows.
    pub(super) fn known_host_key(&self) -> Option<&'static str> {
        let (host, port) = self.server().filter(|_| self.is_ssh())?;
        KNOWN_HOSTS.iter().find(|(known, _)| port == SSH_PORT && *known == host).map(|(_, key)| *key)
    }

    /// The host, in lower case, and the port that git asks. `None`: it is a path on this machine.
    pub fn server(&self) -> Option<(String, u16)> {
        let Some(url) = self.url() else {
            let (_, rest) = self.0.split_once('@').filter(|_| !self.0.starts_with('/'))?;
            let host = match rest.split_once("]:") {
                Some((host, _)) if rest.starts_with('[') => format!("{host}]"),
                _ => rest.split_once(':')?.0.to_owned(),
            };
            return Some((host.to_ascii_lowercase(), SSH_PORT));
        };
        let port = match url.scheme() {
            "file" => return None,
            "ssh" => SSH_PORT,
            "git" => GIT_PORT,
            "http" => 80,
            _ => 443,
        };
        Some((url.host_str().unwrap_or_default().to_ascii_lowercase(), url.port().unwrap_or(port)))
    }
}

impl TryFrom<String> for GitUri {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for GitUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it is {} bytes long, and at most {MAX_BYTES} are taken", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("it has no control characters, such as line breaks".into());
    }
    if text.starts_with('-') {
        return Err("it does not begin with `-`, which git would take for an option".into());
    }
    match text.split_once("://") {
        _ if text.starts_with('/') => check_path(text),
        Some((scheme, rest)) => check_url(scheme, rest, text),
        None => check_scp(text),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.trim_matches('/').is_empty() {
        return Err("`/` is not a repository".into());
    }
    Ok(())
}

fn check_url(scheme: &str, rest: &str, text: &str) -> Result<(), String> {
    if !SCHEMES.contains(&scheme) {
        return Err(format!("git clones from `https`, `http`, `ssh`, `git` and `file` URLs here, not from `{scheme}`"));
    }
    // Parsers differ on these, so that git might ask another host than was read here.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("a URL has no spaces, no `\\` and no characters beyond ASCII; escape them as `%20`".into());
    }
    let url = Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    if url.password().is_some() {
        return Err("it holds a password, and secrets have no place here; leave it out".into());
    }
    // Tokens are given to git hosts as usernames, too.
    if !url.username().is_empty() && scheme != "ssh" {
        return Err("it holds a username, which may be a token; leave what is before the `@` out".into());
    }
    // Git decodes them, and what then begins with `-` is an option to ssh.
    if url.username().starts_with(['-', '%']) {
        return Err("a username does not begin with `-` or `%`".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it ends before a `?` or a `#`".into());
    }
    match (scheme, url.host_str().unwrap_or_default()) {
        ("file", "" | "localhost") => {}
        ("file", _) => return Err("a `file` URL has no host: it begins with `file:///`".into()),
        (_, host) if host.is_empty() || rest.starts_with('/') => return Err("the URL has no host".into()),
        (_, host) if host.starts_with(['-', '%']) => return Err("a host does not begin with `-` or `%`".into()),
        _ => {}
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("the URL has no path, and so names no repository".into());
    }
    Ok(())
}

/// As for `scp`: `user@host:path`.
fn check_scp(text: &str) -> Result<(), String> {
    let none = || "git clones from a URL, `user@host:path` or an absolute path, and this is something else".to_owned();
    let (user, rest) = text.split_once('@').ok_or_else(none)?;
    let (host, path) = match rest.strip_prefix('[') {
        // An IPv6 address stands in brackets.
        Some(rest) => rest.split_once("]:").filter(|(host, _)| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => rest.split_once(':').filter(|(host, _)| is_word(host)),
    }
    .ok_or_else(none)?;
    if let Some((_, _)) = user.split_once(':').filter(|(user, _)| is_word(user)) {
        return Err("it holds a password, and secrets have no place here; leave it out".into());
    }
    if !is_word(user) || host.is_empty() {
        return Err(none());
    }
    if path.trim_matches('/').is_empty() || path.starts_with(['-', ':']) {
        return Err("what stands behind the `:` is the path of a repository".into());
    }
    Ok(())
}

/// Whether it can be a user or a host, and never an option.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests;
