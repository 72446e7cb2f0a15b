//! `elita doctor`: what is right, what is wrong, and what to do about it.

use clap::Args;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use crate::destination::Target;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::http::Request;
use crate::output::Output;
use crate::session::{Session, text};

/// From which difference on clocks are a problem, in seconds.
const CLOCK_TOLERANCE: i64 = 30;

/// Find out what is wrong: settings, server, version, TLS, proxy, clock, token
#[derive(Args, Debug)]
pub(crate) struct Doctor {}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What is so, or what is wrong.
    said: String,
    is_wrong: bool,
    hint: Option<String>,
}

impl Finding {
    fn right(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, said: said.into(), is_wrong: false, hint: None }
    }

    fn wrong(what: &'static str, failure: &Failure) -> Self {
        // That this command looks for reasons is known.
        let hint = failure.hint.as_deref().map(|hint| hint.split("elita doctor").next().unwrap_or_default().trim_end());
        let hint = hint.filter(|hint| !hint.is_empty()).map(str::to_owned);
        Self { what, said: failure.what.clone(), is_wrong: true, hint }
    }
}

impl Doctor {
    pub(crate) async fn run(self, globals: &Globals, output: &Output) -> Result<Code> {
        let (findings, code) = examine(globals, output).await;
        if output.json {
            let findings: Vec<Value> = findings
                .iter()
                .map(|finding| json!({ "what": finding.what, "is": finding.said, "wrong": finding.is_wrong, "try": finding.hint }))
                .collect();
            output.document(&Value::Array(findings));
            return Ok(code);
        }
        for Finding { what, said, is_wrong, hint } in &findings {
            let style = if *is_wrong { console::Style::new().red() } else { console::Style::new().green() };
            output.line(format!("{} {what:<8} {said}", style.apply_to(if *is_wrong { "✗" } else { "✓" })));
            if let Some(hint) = hint {
                output.line(format!("    try: {hint}"));
            }
        }
        Ok(code)
    }
}

/// Looks at one thing after the other, as far as it gets.
async fn examine(globals: &Globals, output: &Output) -> (Vec<Finding>, Code) {
    let mut findings = Vec::new();
    let fails = |mut findings: Vec<Finding>, what, failure: &Failure| {
        findings.push(Finding::wrong(what, failure));
        (findings, if failure.code == Code::Usage { Code::Failed } else { failure.code })
    };
    let globals = Globals { retry_for: Some(std::time::Duration::ZERO), ..globals.clone() };
    let target = match Target::find(&globals) {
        Ok(target) => target,
        Err(failure) => return fails(findings, "settings", &failure),
    };
    findings.push(Finding::right("settings", chosen(&target)));
    let session = match Session::to(target, &globals, output) {
        Ok(session) => session,
        Err(failure) => return fails(findings, "settings", &failure),
    };
    if let Some(proxy) = session.client.proxy() {
        findings
            .push(Finding::right("proxy", format!("{proxy}, of HTTPS_PROXY or HTTP_PROXY; NO_PROXY excludes servers")));
    }
    let reply = match session.client.send(Request::get("/about")).await {
        Ok(reply) => reply,
        Err(failure) => return fails(findings, "server", &failure),
    };
    let about = match reply.json() {
        Ok(about) => about,
        Err(failure) => return fails(findings, "server", &failure),
    };
    findings.push(version(&about));
    findings.extend(clock(reply.date()));
    if let Err(failure) = session.client.get("/health/ready").await {
        return fails(findings, "database", &failure);
    }
    findings.push(Finding::right("database", "answers"));
    match session.client.get("/global/tokens/current").await {
        Ok(token) => findings.push(valid(&session, &token)),
        Err(failure) => return fails(findings, "token", &failure),
    }
    let code = if findings.iter().any(|finding| finding.is_wrong) { Code::Failed } else { Code::Done };
    (findings, code)
}

fn chosen(target: &Target) -> String {
    let url = target.url.as_str().trim_end_matches('/');
    match (&target.context, &target.data_dir) {
        (Some(context), _) => format!("{url} (context `{context}`)"),
        (None, Some(folder)) => format!("{url} (the server on this machine, of {})", folder.display()),
        (None, None) => format!("{url} (named on the command line or in ELITA_SERVER)"),
    }
}

fn version(about: &Value) -> Finding {
    let (theirs, ours) = (text(about, "version"), env!("CARGO_PKG_VERSION"));
    if about["name"] != "elita" {
        return Finding {
            is_wrong: true,
            hint: Some("check the address".into()),
            ..Finding::right("server", "what answers is not Elita")
        };
    }
    match theirs == ours {
        true => Finding::right("server", format!("answers, version {theirs}")),
        false => Finding::right("server", format!("answers, version {theirs}; this client is {ours}")),
    }
}

/// What the server's `Date` says, if it sends one.
fn clock(date: Option<&str>) -> Option<Finding> {
    let theirs = OffsetDateTime::parse(&date?.replace("GMT", "+0000"), &Rfc2822).ok()?;
    let difference = (OffsetDateTime::now_utc() - theirs).whole_seconds();
    Some(match difference.abs() > CLOCK_TOLERANCE {
        true => Finding {
            is_wrong: true,
            hint: Some("set the clocks by NTP; certificates and tokens depend on them".into()),
            ..Finding::right("clock", format!("this machine's and the server's are {} s apart", difference.abs()))
        },
        false => Finding::right("clock", "as the server's"),
    })
}

fn valid(session: &Session, token: &Value) -> Finding {
    let origin = session.client.token().map(|token| token.origin.clone()).unwrap_or_default();
    let end = OffsetDateTime::parse(text(token, "expires_at"), &Rfc3339).ok();
    let left = end.map(|end| format!(", valid for {} more days", (end - OffsetDateTime::now_utc()).whole_days()));
    Finding::right("token", format!("{origin} of {}{}", text(token, "username"), left.unwrap_or_default()))
}
