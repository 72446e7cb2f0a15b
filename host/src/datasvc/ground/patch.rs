//! Changes of documents: a JSON merge patch (RFC 7396) or a JSON Patch (RFC 6902).

use std::fmt::Display;
use std::sync::Arc;

use json_patch::{PatchErrorKind, PatchOperation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::aside::aside_at_once;
use super::attributes;
use super::error::{Error, Result};
use super::numbers::check_integers;
use super::pointer::{escaped, pointer};
use super::wording::plainly;

/// How many operations a JSON Patch has at most.
const MAX_OPERATIONS: usize = 256;
/// How long all that a JSON Patch copies may be together, as JSON in bytes.
const MAX_COPIED_BYTES: usize = attributes::MAX_BYTES;
/// The same of all that it puts in.
const MAX_ADDED_BYTES: usize = 4 * attributes::MAX_BYTES;
/// How deep a document may be nested, as deep as one that is sent.
const MAX_NESTING: usize = 100;
/// Said of members that are not for clients to change.
const CANNOT_CHANGE: &str = "this cannot be changed";
/// The same of `updated_at`: what was read and is sent back is of another version.
const IS_OLD: &str = "the document has changed since this was read: read it again, or leave `updated_at` out";
/// From which length on a patch is applied beside the threads that answer requests.
const LARGE_BYTES: usize = 4 * 1024;

/// How a document is to be changed. It may hold secrets, and so is not for logs. Cheap to clone.
#[derive(Clone)]
pub struct Patch {
    kind: Arc<Kind>,
    is_large: bool,
}

enum Kind {
    /// Members to set, and to remove by null.
    Merge(Map<String, Value>),
    /// Operations, of which all are done or none.
    Operations(json_patch::Patch),
}

impl Patch {
    /// Takes a merge patch as it came.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not an object.
    pub fn merge(text: &str) -> Result<Self> {
        Ok(Self { kind: Arc::new(Kind::Merge(parsed(text)?)), is_large: text.len() >= LARGE_BYTES })
    }

    /// A merge patch with these members.
    pub fn of(members: Map<String, Value>) -> Self {
        let is_large = members.values().map(length).sum::<usize>() >= LARGE_BYTES;
        Self { kind: Arc::new(Kind::Merge(members)), is_large }
    }

    /// Takes a JSON Patch as it came.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not a list of operations.
    pub fn operations(text: &str) -> Result<Self> {
        let operations: json_patch::Patch = parsed(text)?;
        if operations.0.len() > MAX_OPERATIONS {
            return Err(Error::invalid("", format!("a patch has at most {MAX_OPERATIONS} operations")));
        }
        Ok(Self { kind: Arc::new(Kind::Operations(operations)), is_large: text.len() >= LARGE_BYTES })
    }

    /// Whether it says the same of any version of a document: it has no tests and copies nothing.
    pub(in crate::datasvc) fn is_merge(&self) -> bool {
        matches!(&*self.kind, Kind::Merge(_))
    }

    /// The patch without these members, if it is a document that was read: if it has `updated_at`. They are what changes
    /// without a new version of the document, or what only an answer has.
    #[must_use]
    pub fn passing_over(&self, names: &[&str]) -> Self {
        match &*self.kind {
            Kind::Merge(members) if members.contains_key("updated_at") => {
                let others = members.iter().filter(|(name, _)| !names.contains(&name.as_str()));
                let others = others.map(|(name, value)| (name.clone(), value.clone())).collect();
                Self { kind: Arc::new(Kind::Merge(others)), is_large: self.is_large }
            }
            Kind::Merge(_) | Kind::Operations(_) => self.clone(),
        }
    }

    /// The patch without a member that clients see in the document, and that is made of the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is another one there.
    pub fn with_same(&self, name: &str, shown: &impl Serialize) -> Result<Self> {
        let Kind::Merge(members) = &*self.kind else { return Ok(self.clone()) };
        let Some(given) = members.get(name) else { return Ok(self.clone()) };
        if *given != serde_json::to_value(shown).map_err(Error::internal)? {
            return Err(at(name, CANNOT_CHANGE));
        }
        let mut others = members.clone();
        others.shift_remove(name);
        Ok(Self { kind: Arc::new(Kind::Merge(others)), is_large: self.is_large })
    }

    /// What becomes of the part `changeable` of a document. What may take long is done beside the threads that answer
    /// requests.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it touches anything else, or does not fit; [`Error::Conflict`] if a test fails.
    pub(in crate::datasvc) async fn apply<C: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        document: &impl Serialize,
        changeable: &C,
    ) -> Result<C> {
        let (before, can_change) = (object(document)?, object(changeable)?);
        if !self.is_large {
            return self.applied(before, &can_change);
        }
        let patch = self.clone();
        aside_at_once(move |_| patch.applied(before, &can_change)).await?
    }

    /// The same, here and now.
    ///
    /// # Errors
    /// Those of [`Patch::apply`].
    pub(in crate::datasvc) fn apply_here<C: Serialize + DeserializeOwned>(
        &self,
        document: &impl Serialize,
        changeable: &C,
    ) -> Result<C> {
        self.applied(object(document)?, &object(changeable)?)
    }

    fn applied<C: DeserializeOwned>(&self, before: Map<String, Value>, can_change: &Map<String, Value>) -> Result<C> {
        let mut after = self.changed(before.clone())?;
        // To take away what nothing has changes nothing, and is a mistake.
        if let Kind::Merge(members) = &*self.kind
            && let Some(name) =
                members.keys().find(|name| !before.contains_key(*name) && !can_change.contains_key(*name))
        {
            return Err(at(name, "this is not known here"));
        }
        let mut changed = Map::new();
        for name in can_change.keys() {
            changed.extend(after.shift_remove(name).map(|value| (name.clone(), value)));
        }
        for (name, value) in &before {
            // To remove what is null changes nothing.
            let kept = after.shift_remove(name).unwrap_or(Value::Null);
            if kept != *value && !can_change.contains_key(name) {
                return Err(at(name, if name == "updated_at" { IS_OLD } else { CANNOT_CHANGE }));
            }
        }
        if let Some(name) = after.keys().next() {
            return Err(at(name, "this is not known here"));
        }
        let removed: Vec<_> = can_change.keys().filter(|name| !changed.contains_key(*name)).collect();
        serde_path_to_error::deserialize(Value::Object(changed)).map_err(|error| {
            let (path, reason) = (error.path(), error.inner().to_string());
            // What is missing has no path of its own.
            if let Some(name) = removed.iter().find(|name| reason == format!("missing field `{name}`")) {
                return at(name, "it is needed, and cannot be removed");
            }
            Error::invalid(pointer(path).trim_start_matches('/').to_owned(), plainly(&reason))
        })
    }

    fn changed(&self, document: Map<String, Value>) -> Result<Map<String, Value>> {
        let mut document = Value::Object(document);
        match &*self.kind {
            Kind::Merge(members) => json_patch::merge(&mut document, &Value::Object(members.clone())),
            Kind::Operations(operations) => {
                let mut room = Room { copied: MAX_COPIED_BYTES, added: MAX_ADDED_BYTES };
                for (number, operation) in operations.0.iter().enumerate() {
                    room.take(&document, number, operation)?;
                    operate(&mut document, number, operation)?;
                }
            }
        }
        match document {
            Value::Object(document) => Ok(document),
            _ => Err(Error::invalid("", "a document must be an object")),
        }
    }
}

/// By how much the operations to come may make a document longer, in bytes. A document that copies itself into itself
/// is stopped before it has grown.
struct Room {
    copied: usize,
    added: usize,
}

impl Room {
    fn take(&mut self, document: &Value, number: usize, operation: &PatchOperation) -> Result<()> {
        let (path, value) = match operation {
            PatchOperation::Add(add) => (&add.path, Some(&add.value)),
            PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
            PatchOperation::Copy(copy) => (&copy.path, document.pointer(copy.from.as_str())),
            PatchOperation::Move(moved) => (&moved.path, document.pointer(moved.from.as_str())),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        };
        // What is not there is found out by doing it.
        let Some(value) = value else { return Ok(()) };
        let refuse = |reason: String| Err(Error::invalid(number.to_string(), reason));
        if path.as_str().matches('/').count() + depth(value) > MAX_NESTING {
            return refuse(format!("the document gets nested deeper than {MAX_NESTING} levels"));
        }
        let (room, most, what) = match operation {
            PatchOperation::Move(_) => return Ok(()),
            PatchOperation::Copy(_) => (&mut self.copied, MAX_COPIED_BYTES, "copies"),
            _ => (&mut self.added, MAX_ADDED_BYTES, "puts in"),
        };
        match room.checked_sub(length(value)) {
            Some(left) => *room = left,
            None => return refuse(format!("what the patch {what} is longer than {most} bytes together")),
        }
        Ok(())
    }
}

/// How long a value is as JSON, not counting the escaping of characters.
fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(length).sum::<usize>() + 3,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + 4 + length(value)).sum::<usize>() + 3,
    }
}

/// How deep a value is nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Does one operation. After one that fails the document is given up.
fn operate(document: &mut Value, number: usize, operation: &PatchOperation) -> Result<()> {
    json_patch::patch_unsafe(document, std::slice::from_ref(operation)).map_err(|error| match error.kind {
        PatchErrorKind::TestFailed => Error::conflict(format!("operation {number} of the patch: the test failed")),
        kind => Error::invalid(number.to_string(), kind.to_string()),
    })
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    check_integers(text).map_err(|reason| Error::invalid("", reason))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let reason = plainly(&error.inner().to_string());
        Error::invalid(pointer(error.path()).trim_start_matches('/').to_owned(), reason)
    })?;
    json.end().map_err(|error| Error::invalid("", error.to_string()))?;
    Ok(parsed)
}

fn object(document: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(document).map_err(Error::internal)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::internal("a document is not an object")),
    }
}

fn at(name: &str, reason: impl Display) -> Error {
    Error::Invalid { field: escaped(name).into(), reason: reason.to_string() }
}
