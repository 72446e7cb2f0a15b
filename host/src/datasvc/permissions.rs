//! What a user may do: glob patterns over names, and which of them decides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A user's permissions, as stored and shown.
///
/// `{"apps": {"<app glob>": "read/write"}, "actions": {"<app glob>": {"<action glob>": "execute"}},
/// "servers": ["<glob>"]}`. In a pattern `*` is any run of characters and `?` is one. The pattern with the most
/// literal characters decides; between equals only what all of them grant holds. An empty string grants nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    apps: BTreeMap<String, String>,
    actions: BTreeMap<String, BTreeMap<String, String>>,
    servers: Vec<String>,
}

/// What is no application, but has its permissions: users, tokens, plugins, all jobs. Only its literal name matches.
const GLOBAL: &str = "_global";

impl Permissions {
    /// Everything: what the first user holds.
    pub fn administrator() -> Self {
        let everywhere = |words: &str| (String::from("*"), String::from(words));
        Self {
            apps: BTreeMap::from([everywhere("read/write"), (GLOBAL.into(), "read/write".into())]),
            actions: BTreeMap::from([(String::from("*"), BTreeMap::from([everywhere("execute")]))]),
            servers: vec![String::from("*")],
        }
    }

    /// Whether `word` (`read` or `write`) is granted on the application.
    pub(super) fn on_application(&self, word: &str, application: &str) -> bool {
        deciding(&self.apps, application).is_some_and(|words| words.iter().all(|granted| grants(granted, word)))
    }

    /// Whether `word` is granted on what belongs to no application.
    pub(super) fn on_global(&self, word: &str) -> bool {
        self.apps.get(GLOBAL).is_some_and(|granted| grants(granted, word))
    }

    /// Whether the action may be executed: the application's pattern decides first, then the action's.
    pub(super) fn on_action(&self, application: &str, action: &str) -> bool {
        deciding(&self.actions, application).is_some_and(|of_application| {
            of_application.iter().all(|actions| {
                deciding(actions, action).is_some_and(|words| words.iter().all(|granted| grants(granted, "execute")))
            })
        })
    }
}

/// The values of the matching patterns with the most literal characters; `None` if no pattern matches.
fn deciding<'a, T>(patterns: &'a BTreeMap<String, T>, name: &str) -> Option<Vec<&'a T>> {
    let literals = |pattern: &str| pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
    let matching = || patterns.iter().filter(|(pattern, _)| matches(pattern.as_bytes(), name.as_bytes()));
    let most = matching().map(|(pattern, _)| literals(pattern)).max()?;
    Some(matching().filter(|(pattern, _)| literals(pattern) == most).map(|(_, value)| value).collect())
}

fn grants(granted: &str, word: &str) -> bool {
    granted.split('/').collect::<BTreeSet<_>>().contains(word)
}

/// Whether the pattern matches the whole name. Names are ASCII, so that a byte is a character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` has to take one more byte.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n + 1));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, n) = (star + 1, from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests;
