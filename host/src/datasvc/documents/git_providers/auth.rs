//! The credentials that Elita has with a git provider. They are sealed in the database, and no interface shows them.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::GitProviderType;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::pointer::escaped;

/// The longest token, username and password, in bytes.
const MAX_BYTES: usize = 4096;

/// Credentials for a git provider: a token, or a username with a password.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum GitProviderAuth {
    /// For `github`, `gitlab`, `gitea` and `bitbucket`.
    Token(TokenAuth),
    /// For `bitbucket`, whose app passwords and API tokens need the username, and for `other`.
    Password(PasswordAuth),
}

/// A token, which says by itself whose it is.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAuth {
    /// Visible ASCII.
    #[schema(format = Password, min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    token: String,
}

/// A username with a password, or with what the provider takes as one.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordAuth {
    /// Visible ASCII without `:`.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-9;-~]+$")]
    username: String,
    /// Visible ASCII.
    #[schema(format = Password, min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    password: String,
}

impl GitProviderAuth {
    /// Takes credentials as they came. Nothing of them is in an error.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of what is wrong.
    pub(in crate::datasvc::documents) fn read(given: &Value, of: GitProviderType) -> Result<Self> {
        let Value::Object(members) = given else {
            return Err(Error::invalid(
                "auth",
                "it is an object: with a `token`, or with a `username` and a `password`",
            ));
        };
        if let Some(name) = members.keys().find(|name| !["token", "username", "password"].contains(&name.as_str())) {
            return Err(Error::invalid(format!("auth/{}", escaped(name)), "this is not known here"));
        }
        let (token, username, password) =
            (word(members, "token", "")?, word(members, "username", ":")?, word(members, "password", "")?);
        let auth = match (token, username, password) {
            (Some(token), None, None) => Self::Token(TokenAuth { token }),
            (None, Some(username), Some(password)) => Self::Password(PasswordAuth { username, password }),
            (None, Some(_), None) => return Err(Error::invalid("auth/password", "a username needs its password")),
            (None, None, Some(_)) => return Err(Error::invalid("auth/username", "a password needs its username")),
            (None, None, None) | (Some(_), ..) => {
                return Err(Error::invalid("auth", "there is either a `token`, or a `username` and a `password`"));
            }
        };
        auth.check(of)?;
        Ok(auth)
    }

    /// The token, if it is one.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Token(TokenAuth { token }) => Some(token),
            Self::Password(_) => None,
        }
    }

    /// What git logs in with over HTTPS: a username and a password. With a token the username only says that it is one.
    pub(in crate::datasvc::documents) fn login(&self, of: GitProviderType) -> (&str, &str) {
        match self {
            Self::Password(PasswordAuth { username, password }) => (username, password),
            Self::Token(TokenAuth { token }) => {
                let username = match of {
                    GitProviderType::GitHub => "x-access-token",
                    GitProviderType::GitLab => "oauth2",
                    GitProviderType::Bitbucket => "x-token-auth",
                    GitProviderType::Local
                    | GitProviderType::Gitea
                    | GitProviderType::Other
                    | GitProviderType::Unknown => "elita",
                };
                (username, token)
            }
        }
    }

    fn check(&self, of: GitProviderType) -> Result<()> {
        use GitProviderType::{Bitbucket, GitHub, GitLab, Gitea, Local, Other, Unknown};
        let wanted = match (of, self) {
            (GitHub | GitLab | Gitea | Bitbucket, Self::Token(_)) | (Bitbucket | Other, Self::Password(_)) => {
                return Ok(());
            }
            (Unknown, _) => "is known to a newer server only",
            (Local, _) => "is this server, and needs no credentials",
            (GitHub | GitLab | Gitea, Self::Password(_)) => "takes a `token`",
            (Other, Self::Token(_)) => "takes a `username` and a `password`",
        };
        Err(Error::invalid("auth", format!("a git provider of the type `{}` {wanted}", of.as_str())))
    }
}

/// A member that goes into a header of requests, and so has nothing in it that ends or splits one.
fn word(members: &Map<String, Value>, name: &'static str, without: &str) -> Result<Option<String>> {
    let text = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Error::invalid(format!("auth/{name}"), "it is a text")),
    };
    let known = text.bytes().all(|byte| byte.is_ascii_graphic() && !without.as_bytes().contains(&byte));
    if known && (1..=MAX_BYTES).contains(&text.len()) {
        return Ok(Some(text.clone()));
    }
    let but = if without.is_empty() { String::new() } else { format!(" other than `{without}`") };
    Err(Error::invalid(format!("auth/{name}"), format!("it must be 1 to {MAX_BYTES} visible ASCII characters{but}")))
}

/// Without the secrets.
impl fmt::Debug for GitProviderAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "a token",
            Self::Password(_) => "a username and a password",
        })
    }
}
