//! Package maps: which packages are made of an upload.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "packagemap",
    about: "Package maps: which packages are made of an upload",
    collection: Collection::Application("packagemaps"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("PACKAGES", "/packages"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[Member::json("packages", "/packages", "The packages, each with its `patterns`")],
    verbs: ALL,
    example: r#"packagemap create shop default --packages '{"web": {"patterns": ["web/**"]}}'"#,
};
