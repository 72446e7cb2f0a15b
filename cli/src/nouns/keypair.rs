//! Keypairs: SSH keys, whose private halves are never shown.

use super::{ALL, Collection, Column, Member, Noun};

pub(crate) const NOUN: Noun = Noun {
    name: "keypair",
    about: "Keypairs: SSH keys, whose private halves are never shown",
    collection: Collection::Installation("/global/keypairs"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("TYPE", "/key_type"),
        Column::new("FINGERPRINT", "/fingerprint"),
        Column::time("CREATED", "/created_at"),
    ],
    members: &[
        Member::truth("generate", "/generate", "Make a new ed25519 key").fixed(),
        Member::secret("private-key-file", "/private_key", "The private key in OpenSSH's format; - is standard input"),
        Member::secret("public-key-file", "/public_key", "The public key, as a line of authorized_keys"),
        Member::text("type", "/key_type", "The type that the key has, such as ed25519"),
    ],
    verbs: ALL,
    example: "keypair create deploy --generate",
};
