//! What a command works with: a server, a way to print, and what is meant where nothing is named.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::destination::{Target, say_once};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::http::{Client, with_query};
use crate::output::Output;

/// How long a command tries again by itself.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// The same for one that follows a job, which goes on meanwhile.
const RETRY_FOLLOWING: Duration = Duration::from_secs(300);
/// How much of an id is shown, and enough to name a job.
const SHORT: usize = 8;

/// A server to talk to, and how to print.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: Output,
    /// The application, for commands that name no other.
    app: Option<String>,
    pub(crate) context: Option<String>,
    /// The data directory of a server on this machine.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) retry_following: Duration,
}

impl Session {
    /// Finds the server, and sends nothing yet.
    ///
    /// # Errors
    /// If no server is found, or its token cannot be used.
    pub(crate) fn open(globals: &Globals, output: &Output) -> Result<Self> {
        let target = Target::find(globals)?;
        if target.data_dir.is_some() && output.is_terminal_err && !output.json && say_once(&target.url) {
            output.note(format!("using the server on this machine, {}", target.url.as_str().trim_end_matches('/')));
        }
        let session = Self::to(target, globals, output)?;
        session.warn_of_end();
        Ok(session)
    }

    /// The same with a server that was found before.
    pub(crate) fn to(target: Target, globals: &Globals, output: &Output) -> Result<Self> {
        let Target { url, token, context, app, ca_file, data_dir } = target;
        let retry_for = globals.retry_for.unwrap_or(RETRY_FOR);
        let client = Client::new(&url, token, ca_file.as_deref(), retry_for, globals.verbose)?;
        let app = std::env::var("ELITA_APP").ok().filter(|app| !app.is_empty()).or(app);
        let retry_following = globals.retry_for.unwrap_or(RETRY_FOLLOWING);
        Ok(Self { client, output: output.clone(), app, context, data_dir, retry_following })
    }

    /// Says that a token ends within a day.
    fn warn_of_end(&self) {
        let expires_at = self.client.token().and_then(|token| token.expires_at.as_deref());
        let parse = |text: &str| time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok();
        let Some(end) = expires_at.and_then(parse) else { return };
        let left = end - time::OffsetDateTime::now_utc();
        if left.is_positive() && left < time::Duration::DAY && self.output.is_terminal_err {
            self.output.note(format!("the token ends in {} h: elita login makes a new one", left.whole_hours()));
        }
    }

    /// The application that is named, or the one that is meant.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn app(&self, named: Option<&str>) -> Result<String> {
        named.map(str::to_owned).or_else(|| self.app.clone()).ok_or_else(|| {
            Failure::usage("which application? Name it, or set it in the context or in ELITA_APP")
                .hint("name it first; elita app list shows them")
        })
    }

    pub(crate) fn default_app(&self) -> Option<&str> {
        self.app.as_deref()
    }

    /// `[APP] NAME`, as it stands on the command line.
    pub(crate) fn app_and_name<'a>(&self, words: &'a [String], what: &str) -> Result<(String, &'a str)> {
        match words {
            [name] => Ok((self.app(None)?, name)),
            [app, name] => Ok((app.clone(), name)),
            _ => Err(Failure::usage(format!("which {what}? It takes an application and a name"))
                .hint(format!("elita {what} list APP"))),
        }
    }

    /// The whole id of a job: of a whole one, of its last characters, or `-` for the newest job of this user.
    ///
    /// # Errors
    /// If there is no such job, or more than one.
    pub(crate) async fn job_id(&self, text: &str) -> Result<String> {
        if uuid::Uuid::try_parse(text).is_ok() {
            return Ok(text.to_owned());
        }
        if text == "-" {
            return self.newest_job().await;
        }
        let suffix = text.trim_start_matches('…').trim_start_matches("...");
        let suffix = suffix.rsplit('-').next().unwrap_or(suffix);
        if suffix.len() < 4 || !suffix.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Failure::usage(format!(
                "`{text}` is not a job: its id, the last {SHORT} characters of it, or -"
            ))
            .hint("elita job list"));
        }
        let found =
            self.client.get(with_query("/job", &[("id_suffix", suffix.into()), ("limit", "10".into())])).await?;
        let found = found["items"].as_array().cloned().unwrap_or_default();
        match &found[..] {
            [job] => Ok(job["job_id"].as_str().unwrap_or_default().to_owned()),
            [] => Err(Failure::new(Code::Refused, format!("there is no job whose id ends with {suffix}"))
                .hint("elita job list; a job is named by the last characters of its id, not by the first")),
            several => {
                let lines = several.iter().map(|job| {
                    let text = |member: &str| job[member].as_str().unwrap_or_default().to_owned();
                    format!("{}  {}  {}", text("job_id"), text("name"), text("created_at"))
                });
                Err(Failure::new(
                    Code::Usage,
                    format!("several jobs end with {suffix}; more characters tell them apart"),
                )
                .details(lines))
            }
        }
    }

    /// The id of a deployment: like that of a job, where `-` is the newest deployment of this user.
    ///
    /// # Errors
    /// If there is no such job, or more than one.
    pub(crate) async fn deployment_id(&self, text: &str) -> Result<String> {
        match text {
            "-" => self.newest_of(&[("type", "deployment".into())]).await,
            text => self.job_id(text).await,
        }
    }

    async fn newest_job(&self) -> Result<String> {
        self.newest_of(&[]).await
    }

    async fn newest_of(&self, filter: &[(&str, String)]) -> Result<String> {
        let user = self.user().await?;
        let mut arguments = vec![("username", user), ("limit", "1".into())];
        arguments.extend_from_slice(filter);
        let page = self.client.get(with_query("/job", &arguments)).await?;
        let id = page["items"][0]["job_id"].as_str();
        id.map(str::to_owned)
            .ok_or_else(|| Failure::new(Code::Refused, "you have no job like that yet").hint("elita job list"))
    }

    /// Whose token it is.
    pub(crate) async fn user(&self) -> Result<String> {
        let user = self.client.get("/global/users/current").await?;
        Ok(user["username"].as_str().unwrap_or_default().to_owned())
    }
}

/// A job's id, as short as it can be named.
pub(crate) fn short(id: &str) -> String {
    format!("…{}", &id[id.len().saturating_sub(SHORT)..])
}

/// A text member of a document, or an empty text if the document lacks it.
pub(crate) fn text<'a>(document: &'a Value, member: &str) -> &'a str {
    document[member].as_str().unwrap_or_default()
}

/// The parameters of an action that every request has, as one gives them.
pub(crate) fn shown_parameters(action: &Value) -> String {
    let parameters = action["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.filter(|parameter| parameter["optional"] != true);
    let given: Vec<_> = parameters.map(|parameter| format!("{}=…", text(parameter, "name"))).collect();
    given.join(" ")
}

/// The parameters that an action can do without, as those that it needs are in its document. They are in its schema alone.
pub(crate) fn optional_parameters(action: &Value) -> Vec<Value> {
    let schema = &action["schema"];
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let declared = schema["properties"].as_object().into_iter().flatten();
    let optional = declared.filter(|(name, _)| required.iter().all(|one| one != name.as_str()));
    let parameter = |(name, its): (&String, &Value)| json!({ "name": name, "type": its["title"], "description": its["description"] });
    optional.map(parameter).collect()
}

/// A part of a path, with what would be read as something else escaped.
pub(crate) fn segment(name: &str) -> String {
    let mut url = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => url.push(char::from(byte)),
            _ => url += &format!("%{byte:02X}"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::{segment, short};

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("../a b/ä"), "..%2Fa%20b%2F%C3%A4");
        assert_eq!(short("01a20399-fee3-77aa-9fe4-c6e146ed5412"), "…46ed5412");
    }
}
