//! `elita build download`: fetches a package, goes on where it was cut off, and checks its digest.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::{HeaderName, IF_RANGE, RANGE};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{NOUN, destination};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::{Body, Broken, Pauses, Reply};
use crate::session::{Session, segment, text};

/// The package that is the uploaded file.
const MASTER: &str = "master";

pub(super) fn command() -> Command {
    let output = Arg::new("output").short('O').long("output").value_name("FILE").value_parser(value_parser!(PathBuf));
    let package = Arg::new("package").long("package").value_name("NAME").default_value(MASTER);
    let command =
        Command::new("download").about("Download a package of a build; by default `master`, the uploaded file");
    NOUN.names(command, 1)
        .arg(package.help("Which package"))
        .arg(output.help("Where to write it; - is standard output [default: its own name, here]"))
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = NOUN.path(session, matches)?;
    let build = session.client.get(&*path).await?;
    let name = matches.get_one::<String>("package").map_or(MASTER, String::as_str);
    let package = &build["packages"][name];
    if package.is_null() {
        let known: Vec<_> = build["packages"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let failure =
            Failure::new(Code::Refused, format!("build {} has no package `{name}`", text(&build, "build_name")));
        return Err(match known.is_empty() {
            true => failure.hint("elita upload stores its file first"),
            false => failure.hint(format!("one of {}", known.join(", "))),
        });
    }
    // The file from the server itself, which holds the token: its store may not be reachable from here.
    let from = format!("{path}/packages/{}?redirect=false", segment(name));
    match destination(matches) {
        Some(to) if to.as_os_str() == "-" => fetch(session, &from, package, &mut Sink::Output(Sha256::new())).await?,
        to => {
            let own = Path::new(text(package, "filename")).file_name().unwrap_or_default().to_owned();
            let to = to.cloned().unwrap_or_else(|| PathBuf::from(own));
            to_file(session, &from, package, &to).await?;
        }
    }
    Ok(Code::Done)
}

/// Beside the file while it comes, and put in its place once it is whole.
async fn to_file(session: &Session, from: &str, package: &Value, to: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Failure::file("write", to, &error);
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".elita-").tempfile_in(folder).map_err(failed)?;
    let mut sink = Sink::File(file);
    fetch(session, from, package, &mut sink).await?;
    let Sink::File(file) = sink else { return Ok(()) };
    file.persist(to).map_err(|error| failed(error.error))?;
    match session.output.quiet || session.output.json {
        true => session.output.line(to.display().to_string()),
        false => session.output.note(format!("{} is written, and its digest is right", to.display())),
    }
    Ok(())
}

/// Where the bytes go.
enum Sink {
    File(tempfile::NamedTempFile),
    /// What was written is hashed on the way.
    Output(Sha256),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Output(hash) => {
                hash.update(bytes);
                std::io::stdout().lock().write_all(bytes)
            }
        }
    }

    fn sha256(&mut self) -> std::io::Result<[u8; 32]> {
        match self {
            Self::Output(hash) => Ok(hash.clone().finalize().into()),
            Self::File(file) => {
                let (mut reader, mut hash, mut piece) = (file.reopen()?, Sha256::new(), vec![0; 256 * 1024]);
                loop {
                    match reader.read(&mut piece)? {
                        0 => return Ok(hash.finalize().into()),
                        read => hash.update(&piece[..read]),
                    }
                }
            }
        }
    }
}

/// Fetches all of it, going on after what is there already.
async fn fetch(session: &Session, from: &str, package: &Value, sink: &mut Sink) -> Result<()> {
    let size = package["size_bytes"].as_u64().unwrap_or_default();
    let digest = text(package, "sha256");
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    let mut written = 0;
    let mut pauses = Pauses::new(session.retry_following);
    while written < size || size == 0 {
        let before = written;
        match part(session, from, sink, &mut written).await? {
            None => break,
            Some(broken) => {
                if written > before {
                    pauses = Pauses::new(session.retry_following);
                }
                let Some(pause) = pauses.next(None) else { return Err(broken.into()) };
                session.output.note(format!("{}; going on after {written} bytes", broken.what));
                tokio::time::sleep(pause).await;
            }
        }
    }
    let found = sink.sha256().map_err(|error| Failure::usage(format!("what was written cannot be read: {error}")))?;
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    if found == digest {
        return Ok(());
    }
    Err(Failure::new(Code::Refused, "what came is not the package: its digest is another")
        .details([format!("wanted  {digest}"), format!("came    {found}")])
        .hint("the same again"))
}

/// One request for what is missing. None: it came whole; otherwise why the rest did not.
async fn part(session: &Session, from: &str, sink: &mut Sink, written: &mut u64) -> Result<Option<Broken>> {
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    if *written > 0 {
        headers.push((RANGE, format!("bytes={written}-")));
        let head = session.client.open(&Method::HEAD, from, &[], Body::default()).await;
        let etag = head.ok().and_then(|head| Some(head.headers().get("etag")?.to_str().ok()?.to_owned()));
        headers.extend(etag.map(|etag| (IF_RANGE, etag)));
    }
    let response = match session.client.open(&Method::GET, from, &headers, Body::default()).await {
        Ok(response) => response,
        Err(broken) if broken.may_pass => return Ok(Some(broken)),
        Err(broken) => return Err(broken.into()),
    };
    let (parts, mut body) = response.into_parts();
    let is_rest = parts.status.as_u16() == 206;
    if !parts.status.is_success() || (*written > 0 && !is_rest) {
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Err(session.client.refusal(&Reply {
            status: parts.status,
            headers: parts.headers,
            body,
            path: from.to_owned(),
        }));
    }
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(bytes) = frame.into_data() else { continue };
                sink.write(&bytes).map_err(|error| Failure::usage(format!("cannot write it: {error}")))?;
                *written += bytes.len() as u64;
            }
            Err(error) => return Ok(Some(session.client.broken(&error))),
        }
    }
    Ok(None)
}
