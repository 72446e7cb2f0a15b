//! Groups of gitdeploys.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "group",
    about: "Groups: gitdeploys that are deployed together, on the servers that have them all",
    collection: Collection::Application("groups"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("GITDEPLOYS", "/gitdeploys"),
        Column::new("SERVERS", "/servers"),
        Column::new("DESCRIPTION", "/description"),
    ],
    members: &[
        Member::json("gitdeploys", "/gitdeploys", "A list of names, or a list of stages, which are lists of names"),
        Member::truth("rolling", "/rolling_deploy", "Whether a deployment goes to its servers in several batches"),
        Member::text("description", "/description", "What it is for"),
    ],
    verbs: ALL,
    example: r#"group create shop web --gitdeploys '["site", "worker"]' --rolling"#,
};
