//! One document, as lines.

use serde_json::{Map, Value};

use crate::failure::{Failure, Result};
use crate::output::{Cell, Output, shown};

/// Prints a document: a line for each member, those of objects in it with their path; with `--quiet` its name.
pub(super) fn print(output: &Output, key: &str, document: &Value) {
    if output.quiet && !output.json {
        return output.line(shown(&document[key]));
    }
    let mut rows = Vec::new();
    flatten("", document, &mut rows);
    output.details(document, rows);
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, Cell)>) {
    let Value::Object(all) = value else { return };
    for (name, value) in all {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            // Where its lists are is for programs.
            _ if name == "containers" => {}
            // The application's other name, for older clients.
            _ if name == "app_name" && all.contains_key("application") => {}
            Value::Object(members) if !members.is_empty() => flatten(&name, value, rows),
            Value::Object(_) | Value::Null => {}
            Value::String(text) if name.ends_with("_at") => rows.push((name, Cell::Time(text.clone()))),
            // Numbers are for columns to the right.
            Value::Number(number) => rows.push((name, Cell::text(number.to_string()))),
            _ if matches!(&*name, "status" | "state") => rows.push((name, Cell::state(value))),
            _ => rows.push((name, Cell::of(value))),
        }
    }
}

/// Attributes from `NAME=VALUE`, where a value that is JSON is that JSON.
pub(crate) fn attributes(given: &[String]) -> Result<Map<String, Value>> {
    let mut attributes = Map::new();
    for word in given {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Failure::usage(format!("`{word}` is not an attribute")).hint(format!("--attribute {word}=VALUE"))
        })?;
        attributes.insert(name.to_owned(), json_or_text(value));
    }
    Ok(attributes)
}

/// JSON, or the text itself.
pub(super) fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// What makes one document of another, as a merge patch.
pub(super) fn difference(before: &Value, after: &Value) -> Map<String, Value> {
    let none = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&none), after.as_object().unwrap_or(&none));
    let mut patch = Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(same) if same == value => {}
            Some(Value::Object(_)) if value.is_object() => {
                patch.insert(name.clone(), Value::Object(difference(&before[name], value)));
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch.extend(before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null)));
    patch
}

#[cfg(test)]
mod tests {
    use super::difference;
    use serde_json::{Value, json};

    #[test]
    fn an_edited_document_gives_a_merge_patch() {
        let before = json!({ "name": "web", "attributes": { "rack": 7, "old": true } });
        let after = json!({ "name": "web", "attributes": { "rack": 8 }, "more": 1 });
        let patch = json!({ "attributes": { "rack": 8, "old": null }, "more": 1 });
        assert_eq!(Value::Object(difference(&before, &after)), patch);
    }
}
