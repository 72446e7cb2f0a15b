//! Applications.

use clap::ArgMatches;

use super::{ALL, Collection, Column, Member, Noun};
use crate::exit::Code;
use crate::failure::Result;
use crate::session::Session;

/// What may be in an application, by its place, and as it is counted.
const CONTENTS: [(&str, &str); 5] = [
    ("builds", "build"),
    ("packagemaps", "package map"),
    ("gitrepos", "git repository"),
    ("gitdeploys", "gitdeploy"),
    ("groups", "group"),
];
/// Up to how many of each are counted.
const COUNTED: usize = 100;

pub(crate) const NOUN: Noun = Noun {
    name: "app",
    about: "Applications: what everything else belongs to",
    collection: Collection::Installation("/app"),
    key: "app_name",
    columns: &[
        Column::new("NAME", "/app_name"),
        Column::new("ATTRIBUTES", "/attributes"),
        Column::time("CREATED", "/created_at"),
    ],
    members: &[
        Member::json(
            "keep-last",
            "/retention/keep_last",
            "Keep the last so many builds; the server removes older ones",
        ),
        Member::json("keep-seconds", "/retention/keep_seconds", "Keep builds that are younger than so many seconds"),
    ],
    verbs: ALL,
    example: "app create shop --attribute team=web",
};

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("delete", matches)) if !matches.get_flag("yes") => {
            let with = contents(session, &NOUN.path(session, matches)?).await?;
            NOUN.delete(session, matches, &with).await
        }
        _ => NOUN.run(session, matches).await,
    }
}

/// ` with all that is in it: 2 builds, 1 group`, or nothing.
async fn contents(session: &Session, app: &str) -> Result<String> {
    let mut counts = Vec::new();
    for (place, what) in CONTENTS {
        let found = session.client.list(&format!("{app}/{place}"), &[], Some(COUNTED)).await?;
        let more = if found.has_more { "more than " } else { "" };
        match found.items.len() {
            0 => {}
            1 => counts.push(format!("1 {what}")),
            many => counts.push(format!("{more}{many} {}", plural(what))),
        }
    }
    Ok(if counts.is_empty() { String::new() } else { format!(" with all that is in it: {}", counts.join(", ")) })
}

fn plural(what: &str) -> String {
    what.strip_suffix('y').map_or_else(|| format!("{what}s"), |stem| format!("{stem}ies"))
}
