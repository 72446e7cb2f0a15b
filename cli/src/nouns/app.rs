//! Applications.

use super::{ALL, Collection, Column, Noun};

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
    members: &[],
    verbs: ALL,
    example: "app create shop --attribute team=web",
};
