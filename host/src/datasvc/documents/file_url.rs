//! Where a file is fetched from.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::uploads::FileType;
use crate::outbound;

/// The longest URL, in bytes.
const MAX_BYTES: usize = 4096;

/// An `http` or `https` URL without user and password. It is shown with the job that fetches from there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = "uri", max_length = 4096, example = "https://ci.example.com/shop/124.tar.gz")]
pub struct FileUrl(String);

impl FileUrl {
    /// Takes a URL as it came from outside. The error says what is wrong with it.
    ///
    /// # Errors
    /// If no file can be fetched from there, or if it holds a user or a password.
    pub fn parse(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        check(&text).map(|()| Self(text))
    }

    /// What kind of archive the end of its path says that the file is. `None`: nothing.
    pub fn file_type(&self) -> Option<FileType> {
        Url::parse(&self.0).ok().and_then(|url| FileType::of_name(url.path()))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FileUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it is {} bytes long, and at most {MAX_BYTES} are taken", text.len()));
    }
    // Parsers differ on these, so that another server might be asked than was read here.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("a URL has no spaces, no `\\` and no characters beyond ASCII; escape them as `%20`".into());
    }
    let url = Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("files are fetched from `http` and `https` URLs, not from `{}`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user or a password, and is shown with the job; leave what is before the `@` out".into());
    }
    if url.fragment().is_some() {
        return Err("it ends before a `#`".into());
    }
    // Who asks the server reads it more strictly than this.
    outbound::check_url(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
