//! What a user may do: glob patterns over names, and which of them decides.

mod cover;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::cover::{Budget, TooMuch};
use crate::datasvc::ground::aside::Aside;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::glob::matches;

/// A user's permissions, as stored and shown.
///
/// `{"apps": {"<app glob>": "read/write"}, "actions": {"<app glob>": {"<action glob>": "execute"}},
/// "servers": ["<glob>"]}`. In a pattern `*` is any run of characters and `?` is one. The pattern with the most
/// literal characters decides; if several are equally specific, only what all of them grant is allowed. An empty string grants nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    #[schema(value_type = BTreeMap<NamePattern, AppWords>)]
    apps: BTreeMap<String, String>,
    #[schema(value_type = BTreeMap<NamePattern, BTreeMap<NamePattern, ActionWords>>)]
    actions: BTreeMap<String, BTreeMap<String, String>>,
    #[schema(value_type = Vec<NamePattern>)]
    servers: Vec<String>,
    /// What narrows them further: the scope of the token in use.
    #[serde(skip)]
    scope: Option<Box<Permissions>>,
}

/// A pattern of names, in which `*` is any run of characters and `?` is one.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, max_length = 128, example = "shop-*")]
#[expect(dead_code, reason = "it describes a pattern; what is read is a text")]
struct NamePattern(String);

/// What may be done with an application: nothing, `read`, `write`, `read/write`, or only `upload`, which `write` includes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^((read|write|upload)(/(read|write|upload))*)?$", max_length = 64,
    example = "read/write")]
#[expect(dead_code, reason = "it describes words; what is read is a text")]
struct AppWords(String);

/// Whether an action may be run: with `execute`.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^(execute(/execute)*)?$", max_length = 64, example = "execute")]
#[expect(dead_code, reason = "it describes words; what is read is a text")]
struct ActionWords(String);

/// How many patterns permissions have at most, and how long each is.
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN_LENGTH: usize = 128;
/// How long the words that a pattern grants are together, in bytes.
const MAX_WORDS_LENGTH: usize = 64;

/// What is not an application, but has its permissions: users, tokens, plugins, all jobs. Only its literal name matches.
const GLOBAL: &str = "_global";

impl Permissions {
    /// Everything: what the first user holds.
    pub fn administrator() -> Self {
        let everywhere = |words: &str| (String::from("*"), String::from(words));
        Self {
            apps: BTreeMap::from([everywhere("read/write"), (GLOBAL.into(), "read/write".into())]),
            actions: ["*", GLOBAL].map(|app| (app.to_owned(), BTreeMap::from([everywhere("execute")]))).into(),
            servers: vec![String::from("*")],
            scope: None,
        }
    }

    /// The same, as far as `scope` grants it, too.
    pub(in crate::datasvc) fn narrowed_by(self, scope: Option<Self>) -> Self {
        Self { scope: scope.map(Box::new), ..self }
    }

    /// What narrows them, if something does.
    pub(in crate::datasvc) fn scope(&self) -> Option<&Self> {
        self.scope.as_deref()
    }

    /// Whether something narrows them.
    pub(in crate::datasvc) fn is_narrowed(&self) -> bool {
        self.scope.is_some()
    }

    /// How much work it may be at most to compare a name with the patterns of applications or of servers. A pattern is
    /// read once, unless a `*` in it is followed by something that may have to be looked for again and again.
    pub(in crate::datasvc) fn work(&self) -> usize {
        let of = |pattern: &String| if pattern.trim_end_matches('*').contains('*') { pattern.len() } else { 1 };
        let own: usize = self.apps.keys().chain(&self.servers).map(of).sum();
        own + self.scope.as_ref().map_or(0, |scope| scope.work())
    }

    /// Refuses permissions that are not valid: unknown words, and patterns that take too long to compare.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the path to it.
    pub(in crate::datasvc) fn check(&self) -> Result<()> {
        let actions = self.actions.iter().flat_map(|(app, actions)| std::iter::once(app).chain(actions.keys()));
        let patterns: Vec<&String> = self.apps.keys().chain(actions).chain(&self.servers).collect();
        if patterns.len() > MAX_PATTERNS || patterns.iter().any(|pattern| pattern.chars().count() > MAX_PATTERN_LENGTH)
        {
            let reason =
                format!("at most {MAX_PATTERNS} patterns of at most {MAX_PATTERN_LENGTH} characters are taken");
            return Err(Error::invalid("permissions", reason));
        }
        check_words("permissions/apps", self.apps.values(), &["read", "write", "upload"])?;
        let of_actions = self.actions.values().flat_map(BTreeMap::values);
        check_words("permissions/actions", of_actions, &["execute"])
    }

    /// Whether these grant all that `other` does, for every name. It takes tens of milliseconds at worst.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the patterns overlap too much for that to be found out.
    pub(in crate::datasvc) fn cover(&self, other: &Self, _aside: &Aside) -> Result<bool> {
        let mut budget = Budget::new();
        self.cover_within(other, &mut budget).map_err(|TooMuch| {
            let reason = "the patterns overlap too much to be compared with those that you hold; use fewer `*` and `?`";
            Error::invalid("permissions", reason)
        })
    }

    fn cover_within(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        Ok(self.cover_alone(other, budget)?
            && match &self.scope {
                Some(scope) => scope.cover_within(other, budget)?,
                None => true,
            })
    }

    fn cover_alone(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        let global = ["read", "write"].iter().all(|word| self.on_global_alone(word) || !other.on_global_alone(word));
        Ok(global
            && self.cover_apps(other, budget)?
            && self.cover_actions(other, budget)?
            && self.cover_servers(other, budget)?)
    }

    fn cover_apps(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        // What most comparisons are of needs no walk, however the other patterns look.
        let all = self.apps.contains_key("*")
            && self.apps.iter().all(|(name, words)| name == GLOBAL || grants_all(words, &["read", "write"]));
        if all || self.apps == other.apps || other.apps.values().all(String::is_empty) {
            return Ok(true);
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = (self.apps.iter().collect(), other.apps.iter().collect());
        let patterns: Vec<&str> = mine.iter().chain(&theirs).map(|(pattern, _)| pattern.as_str()).collect();
        cover::for_all_names(&patterns, budget, |matched, _| {
            let (in_mine, in_theirs) = matched.split_at(mine.len());
            Ok(["read", "write", "upload"].iter().all(|word| {
                let granted = |all: &[(&String, &String)], matched: &[bool]| {
                    deciding_of(all, matched).is_some_and(|words| words.iter().all(|granted| grants(granted, word)))
                };
                granted(&mine, in_mine) || !granted(&theirs, in_theirs)
            }))
        })
    }

    fn cover_actions(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        if !self.cover_global_actions(other, budget)? {
            return Ok(false);
        }
        let all = |actions: &BTreeMap<String, String>| {
            actions.contains_key("*") && actions.values().all(|words| grants(words, "execute"))
        };
        if self.actions.contains_key("*") && self.actions.values().all(all) || self.actions == other.actions {
            return Ok(true);
        }
        if other.actions.values().flat_map(BTreeMap::values).all(String::is_empty) {
            return Ok(true);
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = (self.actions.iter().collect(), other.actions.iter().collect());
        let patterns: Vec<&str> = mine.iter().chain(&theirs).map(|(pattern, _)| pattern.as_str()).collect();
        cover::for_all_names(&patterns, budget, |matched, budget| {
            let (in_mine, in_theirs) = matched.split_at(mine.len());
            match (deciding_of(&mine, in_mine), deciding_of(&theirs, in_theirs)) {
                (_, None) => Ok(true),
                (mine, Some(theirs)) => cover_executions(&mine.unwrap_or_default(), &theirs, budget),
            }
        })
    }

    fn cover_global_actions(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        let Some(theirs) = other.actions.get(GLOBAL) else { return Ok(true) };
        if theirs.values().all(String::is_empty) || self.actions.get(GLOBAL) == Some(theirs) {
            return Ok(true);
        }
        let mine: Vec<_> = self.actions.get(GLOBAL).into_iter().collect();
        cover_executions(&mine, &[theirs], budget)
    }

    fn cover_servers(&self, other: &Self, budget: &mut Budget) -> Result<bool, TooMuch> {
        // A pattern that both have needs none of the others.
        let mine: BTreeSet<&str> = self.servers.iter().map(String::as_str).collect();
        let theirs: BTreeSet<&str> = other.servers.iter().map(String::as_str).collect();
        if mine.contains("*") || theirs.is_subset(&mine) {
            return Ok(true);
        }
        let patterns: Vec<&str> = mine.iter().chain(&theirs).copied().collect();
        cover::for_all_names(&patterns, budget, |matched, _| {
            let (in_mine, in_theirs) = matched.split_at(mine.len());
            Ok(in_mine.contains(&true) || !in_theirs.contains(&true))
        })
    }

    /// Whether `word` (`read`, `write` or `upload`) is granted on the application.
    pub(in crate::datasvc) fn on_application(&self, word: &str, application: &str) -> bool {
        if self.scope.as_ref().is_some_and(|scope| !scope.on_application(word, application)) {
            return false;
        }
        deciding(&self.apps, application).is_some_and(|words| words.iter().all(|granted| grants(granted, word)))
    }

    /// Whether `word` is granted on what belongs to no application.
    pub(in crate::datasvc) fn on_global(&self, word: &str) -> bool {
        self.on_global_alone(word) && self.scope.as_ref().is_none_or(|scope| scope.on_global(word))
    }

    fn on_global_alone(&self, word: &str) -> bool {
        self.apps.get(GLOBAL).is_some_and(|granted| grants(granted, word))
    }

    /// Whether the server may be deployed to, initialized, commanded and looked at.
    pub(in crate::datasvc) fn on_server(&self, server: &str) -> bool {
        if self.scope.as_ref().is_some_and(|scope| !scope.on_server(server)) {
            return false;
        }
        self.servers.iter().any(|pattern| matches(pattern.as_bytes(), server.as_bytes()))
    }

    /// Whether what the installation does by this name may be executed, such as `command`.
    pub(in crate::datasvc) fn on_global_action(&self, action: &str) -> bool {
        if self.scope.as_ref().is_some_and(|scope| !scope.on_global_action(action)) {
            return false;
        }
        let granted = self.actions.get(GLOBAL).and_then(|actions| deciding(actions, action));
        granted.is_some_and(|words| words.iter().all(|granted| grants(granted, "execute")))
    }

    /// Whether the action may be executed: the application's pattern decides first, then the action's.
    pub(in crate::datasvc) fn on_action(&self, application: &str, action: &str) -> bool {
        if self.scope.as_ref().is_some_and(|scope| !scope.on_action(application, action)) {
            return false;
        }
        deciding(&self.actions, application).is_some_and(|of_application| {
            of_application.iter().all(|actions| {
                deciding(actions, action).is_some_and(|words| words.iter().all(|granted| grants(granted, "execute")))
            })
        })
    }
}

/// The values of the matching patterns with the most literal characters; `None` if no pattern matches.
fn deciding<'a, T>(patterns: &'a BTreeMap<String, T>, name: &str) -> Option<Vec<&'a T>> {
    most_specific(patterns.iter().filter(|(pattern, _)| matches(pattern.as_bytes(), name.as_bytes())))
}

/// The same where it is known which patterns match. `_global` is not a name's pattern.
fn deciding_of<'a, T>(patterns: &[(&'a String, &'a T)], matched: &[bool]) -> Option<Vec<&'a T>> {
    let named = patterns.iter().zip(matched).filter(|((pattern, _), matched)| **matched && *pattern != GLOBAL);
    most_specific(named.map(|(one, _)| *one))
}

/// Of these patterns with their values.
fn most_specific<'a, T: 'a>(matching: impl Iterator<Item = (&'a String, &'a T)> + Clone) -> Option<Vec<&'a T>> {
    let literals = |pattern: &str| pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
    let most = matching.clone().map(|(pattern, _)| literals(pattern)).max()?;
    Some(matching.filter(|(pattern, _)| literals(pattern) == most).map(|(_, value)| value).collect())
}

/// Whether each action that all of `theirs` let execute is one that all of `mine` do.
fn cover_executions(
    mine: &[&BTreeMap<String, String>],
    theirs: &[&BTreeMap<String, String>],
    budget: &mut Budget,
) -> Result<bool, TooMuch> {
    let maps: Vec<Vec<(&String, &String)>> = mine.iter().chain(theirs).map(|map| map.iter().collect()).collect();
    let patterns: Vec<&str> = maps.iter().flatten().map(|(pattern, _)| pattern.as_str()).collect();
    cover::for_all_names(&patterns, budget, |matched, _| {
        let mut rest = matched;
        let mut executes = maps.iter().map(|map| {
            let (of_map, others) = rest.split_at(map.len());
            rest = others;
            deciding_of(map, of_map).is_some_and(|words| words.iter().all(|granted| grants(granted, "execute")))
        });
        let of_mine = (0..mine.len()).fold(!mine.is_empty(), |all, _| executes.next().unwrap_or(false) && all);
        let of_theirs = executes.fold(!theirs.is_empty(), |all, one| all && one);
        Ok(of_mine || !of_theirs)
    })
}

fn check_words<'a>(path: &'static str, granted: impl Iterator<Item = &'a String>, known: &[&str]) -> Result<()> {
    for words in granted.filter(|words| !words.is_empty()) {
        if words.len() > MAX_WORDS_LENGTH {
            return Err(Error::invalid(path, format!("a pattern grants words of {MAX_WORDS_LENGTH} bytes at most")));
        }
        if let Some(word) = words.split('/').find(|word| !known.contains(word)) {
            let known = known.join("`, `");
            return Err(Error::invalid(
                path,
                format!("`{word}` is not a permission; known are `{known}`, split by `/`"),
            ));
        }
    }
    Ok(())
}

fn grants(granted: &str, word: &str) -> bool {
    granted.split('/').any(|one| one == word || (one == "write" && word == "upload"))
}

fn grants_all(granted: &str, words: &[&str]) -> bool {
    words.iter().all(|word| grants(granted, word))
}

#[cfg(test)]
mod tests;
