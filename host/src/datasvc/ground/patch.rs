//! Changes of documents: a JSON merge patch (RFC 7396) or a JSON Patch (RFC 6902).

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::pointer::{escaped, pointer};

/// How many operations a JSON Patch has at most.
const MAX_OPERATIONS: usize = 256;
/// How long a document may become while it is changed, as JSON.
const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

/// How a document is to be changed. It may hold secrets, and so is not for logs.
#[derive(Clone)]
pub enum Patch {
    /// Members to set, and to remove by null.
    Merge(Map<String, Value>),
    /// Operations, of which all are done or none.
    Operations(json_patch::Patch),
}

impl Patch {
    /// Takes a merge patch as it came.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no object.
    pub fn merge(text: &str) -> Result<Self> {
        let members = parsed(text)?;
        Ok(Self::Merge(members))
    }

    /// Takes a JSON Patch as it came.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no list of operations.
    pub fn operations(text: &str) -> Result<Self> {
        let operations: json_patch::Patch = parsed(text)?;
        if operations.0.len() > MAX_OPERATIONS {
            return Err(Error::invalid("", format!("a patch has at most {MAX_OPERATIONS} operations")));
        }
        Ok(Self::Operations(operations))
    }

    /// What becomes of the part `changeable` of a document.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it touches anything else, or does not fit; [`Error::Conflict`] if a test fails.
    pub(in crate::datasvc) fn apply<C: Serialize + DeserializeOwned>(
        &self,
        document: &impl Serialize,
        changeable: &C,
    ) -> Result<C> {
        let before = object(document)?;
        let mut after = self.changed(before.clone())?;
        let can_change = object(changeable)?;
        // To take away what nothing has changes nothing, and is a mistake.
        if let Self::Merge(members) = self
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
                return Err(at(name, "this cannot be changed"));
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
            Error::invalid(pointer(path).trim_start_matches('/').to_owned(), reason)
        })
    }

    fn changed(&self, document: Map<String, Value>) -> Result<Map<String, Value>> {
        let mut document = Value::Object(document);
        match self {
            Self::Merge(members) => json_patch::merge(&mut document, &Value::Object(members.clone())),
            Self::Operations(operations) => {
                for (number, operation) in operations.0.iter().enumerate() {
                    operate(&mut document, number, operation)?;
                }
            }
        }
        match document {
            Value::Object(document) => Ok(document),
            _ => Err(Error::invalid("", "a document is an object")),
        }
    }
}

/// Does one operation. A document that copies itself into itself is stopped before it has grown.
fn operate(document: &mut Value, number: usize, operation: &json_patch::PatchOperation) -> Result<()> {
    json_patch::patch(document, std::slice::from_ref(operation)).map_err(|error| match error.kind {
        json_patch::PatchErrorKind::TestFailed => {
            Error::conflict(format!("operation {number} of the patch: the test failed"))
        }
        kind => Error::invalid(number.to_string(), kind.to_string()),
    })?;
    let length = serde_json::to_vec(document).map_err(Error::internal)?.len();
    if length > MAX_DOCUMENT_BYTES {
        let reason = format!("the document grows beyond {MAX_DOCUMENT_BYTES} bytes");
        return Err(Error::invalid(number.to_string(), reason));
    }
    Ok(())
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let reason = error.inner().to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        Error::invalid(pointer(error.path()).trim_start_matches('/').to_owned(), reason)
    })?;
    json.end().map_err(|error| Error::invalid("", error.to_string()))?;
    Ok(parsed)
}

fn object(document: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(document).map_err(Error::internal)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::internal("a document is no object")),
    }
}

fn at(name: &str, reason: impl Display) -> Error {
    Error::Invalid { field: escaped(name).into(), reason: reason.to_string() }
}
