//! Gitdeploys.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "gitdeploy",
    about: "Gitdeploys: which package goes where, by git",
    collection: Collection::Application("gitdeploys"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("PACKAGE", "/package"),
        Column::new("GITREPO", "/location/gitrepo"),
        Column::new("PATH", "/location/path"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("package", "/package", "The package of a build that is deployed"),
        Member::text("path", "/location/path", "Where it goes on servers"),
        Member::text("gitrepo", "/location/gitrepo", "The git repository that it goes through"),
        Member::text("branch", "/location/default_branch", "The branch of that repository"),
        Member::json("options", "/options", "How it is committed and pulled"),
        Member::json("actions", "/actions", "What runs on each server around a pull"),
    ],
    verbs: ALL,
    example: "gitdeploy create shop site --package web --gitrepo site --path /srv/site",
};
