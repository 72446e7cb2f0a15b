//! `elita NOUN list|show|create|update|delete`: one file a noun, and here what they have in common.
//!
//! A noun says where it is, what a list shows and which members can be given; [`Noun`] makes commands of that. What is
//! peculiar to one is in its file.

pub(crate) mod action;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod build;
mod change;
pub(crate) mod deployment;
mod document;
pub(crate) mod gitdeploy;
pub(crate) mod gitprovider;
pub(crate) mod gitrepo;
pub(crate) mod group;
pub(crate) mod job;
pub(crate) mod keypair;
pub(crate) mod packagemap;
pub(crate) mod plugin;
pub(crate) mod server;
pub(crate) mod token;
pub(crate) mod user;
mod verbs;

pub(crate) use self::document::attributes;

/// A kind of document.
#[derive(Debug)]
pub(crate) struct Noun {
    /// As it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is, in a sentence for `--help`.
    pub(crate) about: &'static str,
    pub(crate) collection: Collection,
    /// The member that names a document.
    pub(crate) key: &'static str,
    /// What a list shows.
    pub(crate) columns: &'static [Column],
    /// What can be given.
    pub(crate) members: &'static [Member],
    pub(crate) verbs: &'static [Verb],
    /// An example of `create`, after the program's name.
    pub(crate) example: &'static str,
}

/// Where the documents of a kind are, as a path of the API.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Collection {
    /// At this path.
    Installation(&'static str),
    /// Below the path of an application, by this name.
    Application(&'static str),
}

/// What can be done with each kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    List,
    Show,
    Create,
    Update,
    Edit,
    Delete,
}

/// All of them.
pub(crate) const ALL: &[Verb] = &[Verb::List, Verb::Show, Verb::Create, Verb::Update, Verb::Edit, Verb::Delete];

/// A column of a list.
#[derive(Debug)]
pub(crate) struct Column {
    title: &'static str,
    /// A JSON pointer.
    pointer: &'static str,
    kind: Shown,
}

/// How a value is shown.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Value,
    Time,
    State,
}

impl Column {
    pub(crate) const fn new(title: &'static str, pointer: &'static str) -> Self {
        Self { title, pointer, kind: Shown::Value }
    }

    pub(crate) const fn time(title: &'static str, pointer: &'static str) -> Self {
        Self { title, pointer, kind: Shown::Time }
    }

    pub(crate) const fn state(title: &'static str, pointer: &'static str) -> Self {
        Self { title, pointer, kind: Shown::State }
    }
}

/// A member of a document that can be given.
#[derive(Debug)]
pub(crate) struct Member {
    /// The flag, without dashes.
    pub(crate) flag: &'static str,
    /// A JSON pointer.
    pub(crate) pointer: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// Whether it can be changed later.
    pub(crate) changes: bool,
}

/// What a member holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// `true` or `false`.
    Truth,
    /// Any JSON; what is not JSON is a text.
    Json,
    /// A secret: from a file, or standard input with `-`, and never from the command line.
    SecretFile,
}

impl Member {
    pub(crate) const fn text(flag: &'static str, pointer: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Text, flag, pointer, help)
    }

    pub(crate) const fn truth(flag: &'static str, pointer: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Truth, flag, pointer, help)
    }

    pub(crate) const fn json(flag: &'static str, pointer: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Json, flag, pointer, help)
    }

    pub(crate) const fn secret(flag: &'static str, pointer: &'static str, help: &'static str) -> Self {
        Self::of(Kind::SecretFile, flag, pointer, help)
    }

    /// It stays what it is.
    pub(crate) const fn fixed(self) -> Self {
        Self { changes: false, ..self }
    }

    const fn of(kind: Kind, flag: &'static str, pointer: &'static str, help: &'static str) -> Self {
        Self { flag, pointer, kind, help, changes: true }
    }
}
