//! Git providers, whose credentials are never shown.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "gitprovider",
    about: "Git providers: services that have repositories",
    collection: Collection::Installation("/global/gitproviders"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("TYPE", "/type"),
        Column::new("URL", "/base_url"),
        Column::new("CREDENTIALS", "/has_auth"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("type", "/type", "What it is: github, gitlab, gitea, bitbucket, local or other").fixed(),
        Member::text("base-url", "/base_url", "Where the service is"),
        Member::text("auth-username", "/auth/username", "The user to work as there"),
        Member::secret("auth-token-file", "/auth/token", "A file with a token; - is standard input"),
        Member::secret("auth-password-file", "/auth/password", "A file with a password; - is standard input"),
    ],
    verbs: ALL,
    example: "gitprovider create forge --type gitea --base-url https://git.example.org --auth-token-file token",
};
