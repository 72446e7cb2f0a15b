//! `elita upload`: sends the file of a build, and follows the job that takes it in.

mod send;
mod source;

use clap::Args;
use serde_json::{Map, Value, json};

use self::send::{Sent, send};
use self::source::{Source, TYPES};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, outcome_line};
use crate::http::{Request, with_query};
use crate::nouns::build::packages;
use crate::session::{Session, segment, short, text};

/// Upload the file of a build
///
/// Creates the build if it is not there, sends the file with its digest, and follows the job that processes it. A file
/// that is stored is never replaced: the same file again succeeds, another one is refused.
#[derive(Args, Debug)]
#[command(
    override_usage = "elita upload [OPTIONS] [APP] BUILD FILE",
    after_help = "Examples:
  elita upload shop 1.42 shop.tar.gz
  tar -cz site | elita upload shop 1.42 - --type tar.gz
  elita upload shop 1.42 --url https://ci.example.org/shop.zip"
)]
pub(crate) struct Upload {
    /// The application, unless the context has one; the build; and the file, where - is standard input
    #[arg(required = true, value_name = "[APP] BUILD FILE", num_args = 1..=3, value_hint = clap::ValueHint::FilePath)]
    words: Vec<String>,
    /// What the file is, if its name does not say so
    #[arg(long = "type", value_name = "TYPE", value_parser = TYPES)]
    file_type: Option<String>,
    /// The package map that makes packages of it
    #[arg(long, value_name = "NAME")]
    map: Option<String>,
    /// Attributes of the build, if it is created
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Fail if the build is not there
    #[arg(long)]
    no_create: bool,
    /// Where the server fetches the file from, instead of a file of yours
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print the job's id once the file is sent, and do not follow it
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Upload {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let (names, file) = self.names_and_file()?;
        let (app, build) =
            session.app_and_name(names, "build").map_err(|failure| failure.hint("elita upload APP BUILD FILE"))?;
        let path = format!("/app/{}/builds/{}", segment(&app), segment(build));
        let source = match file {
            Some(file) => Some(Source::open(file, self.file_type.as_deref())?),
            None => None,
        };
        let already = self.ensure_build(session, &app, build, &path).await?;
        if already["stored"] == true {
            return stored_already(session, &already, source.as_ref());
        }
        let sent = match &source {
            Some(source) => send(session, &path, source, self.map.as_deref(), !self.no_create).await?,
            None => Sent::Accepted(self.fetch(session, &path).await?),
        };
        let job = match sent {
            Sent::Accepted(job) => job,
            // Somebody else stored it meanwhile.
            Sent::Stored => return stored_already(session, &session.client.get(&*path).await?, source.as_ref()),
        };
        self.follow(session, &job, &app, build, &path).await
    }

    /// The words without the file, which is the last one unless the server fetches it.
    fn names_and_file(&self) -> Result<(&[String], Option<&str>)> {
        match (&self.url, &self.words[..]) {
            (Some(_), names) if names.len() <= 2 => Ok((names, None)),
            (None, [names @ .., file]) if !names.is_empty() => Ok((names, Some(file))),
            _ => Err(Failure::usage("what is uploaded, and for which build?").hint("elita upload APP BUILD FILE")),
        }
    }

    /// The build, created if need be. Null: who may only upload does not see it, and the upload creates it.
    async fn ensure_build(&self, session: &Session, app: &str, build: &str, path: &str) -> Result<Value> {
        let found = session.client.get(path).await;
        match found {
            Err(failure) if failure.status() == Some(404) && !self.no_create => {}
            Err(failure) if failure.status() == Some(403) && self.attributes.is_empty() => return Ok(Value::Null),
            found => return found,
        }
        let attributes: Map<String, Value> = crate::nouns::attributes(&self.attributes)?;
        let body = json!({ "build_name": build, "attributes": attributes });
        let request = Request::post(format!("/app/{}/builds", segment(app))).json(&body).repeatable();
        match session.client.send(request).await {
            // Created meanwhile, perhaps by this very request.
            Err(failure) if failure.status() == Some(409) => session.client.get(path).await,
            created => created?.json(),
        }
    }

    async fn fetch(&self, session: &Session, path: &str) -> Result<Value> {
        let url = self.url.as_deref().unwrap_or_default();
        let file_type = match &self.file_type {
            Some(file_type) => file_type.as_str(),
            None => source::type_of(url.split(['?', '#']).next().unwrap_or_default())?,
        };
        let mut body = json!({ "file_type": file_type, "indirect_url": url });
        if let Some(map) = &self.map {
            body["package_map"] = json!(map);
        }
        if !self.no_create {
            body["create"] = json!(true);
        }
        session.client.send(Request::post(path).json(&body).keyed(None)).await?.json()
    }

    async fn follow(&self, session: &Session, job: &Value, app: &str, build: &str, path: &str) -> Result<Code> {
        let (output, id) = (&session.output, text(job, "job_id"));
        if self.detach {
            if output.json {
                output.document(job)
            } else {
                output.line(id)
            }
            return Ok(Code::Done);
        }
        if !output.json {
            output.note(format!("build {build} of {app}: taking the file in  job {}", short(id)));
        }
        // The answer is the build: the log says how it comes about.
        let lines = Lines { are_silent: output.json || output.quiet, ..Lines::default() };
        let following = Following { session, id: id.to_owned(), after: 0, lines };
        let (job, code) = following.until_the_end(&self.patience).await?;
        if code != Code::Done {
            crate::follow::describe(output, &job, None);
            return Ok(code);
        }
        let build = match session.client.get(path).await {
            Err(failure) if failure.status() == Some(403) => {
                json!({ "build_name": build, "packages": job["result"]["packages"] })
            }
            build => build?,
        };
        output.note(outcome_line(&job));
        show(session, &build);
        Ok(Code::Done)
    }
}

/// The build, or its packages.
fn show(session: &Session, build: &Value) {
    let output = &session.output;
    match (output.json, output.quiet) {
        (true, _) => output.document(build),
        (false, true) => output.line(text(build, "build_name")),
        (false, false) => output.table(&packages(build)),
    }
}

/// The build has a file: the same one is as good as done.
fn stored_already(session: &Session, build: &Value, source: Option<&Source>) -> Result<Code> {
    let stored = text(&build["packages"]["master"], "sha256");
    let stored = stored.strip_prefix("sha256:").unwrap_or(stored);
    let name = text(build, "build_name");
    let digest = source.and_then(Source::hex_digest);
    match digest {
        Some(digest) if digest == stored => {
            session.output.note(format!("build {name} has this file already"));
            show(session, build);
            Ok(Code::Done)
        }
        digest => {
            // What is fetched, or comes from standard input, may be the same file.
            let which = if digest.is_some() { "another file" } else { "a file" };
            let digests = [Some(format!("stored  {stored}")), digest.map(|digest| format!("yours   {digest}"))];
            Err(Failure::new(
                Code::Refused,
                format!("build {name} has {which} already, and what is stored is never replaced"),
            )
            .details(digests.into_iter().flatten())
            .hint("another name for the build"))
        }
    }
}

/// The path of a file upload with what there is to say of it.
fn file_path(build: &str, file_type: &str, map: Option<&str>, create: bool) -> String {
    let mut query = vec![("file_type", file_type.to_owned())];
    if create {
        query.push(("create", "true".to_owned()));
    }
    query.extend(map.map(|map| ("package_map", map.to_owned())));
    with_query(&format!("{build}/file"), &query)
}
