//! Git repositories.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "gitrepo",
    about: "Git repositories: what builds are committed to",
    collection: Collection::Application("gitrepos"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("URI", "/uri"),
        Column::new("BUILD", "/last_build"),
        Column::new("COMMIT", "/last_commit"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("uri", "/uri", "Where git clones it from"),
        Member::truth("existing", "/existing", "Whether it exists already").fixed(),
        Member::text("gitprovider", "/gitprovider", "The git provider that it is at"),
        Member::text("keypair", "/keypair", "The keypair that it is reached with"),
    ],
    verbs: ALL,
    example: "gitrepo create shop site --existing --uri git@git.example.org:shop/site.git --keypair deploy",
};
