//! The document in the form that generators of clients and linters understand: a reference stands alone, null is an
//! alternative of one named thing, files are binary, and what members have to do with each other is an extension.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::examples;

/// Where rules stand that generators would take for alternatives, each for a type of its own. What checks requests puts
/// them back as `oneOf`.
pub(super) const RULES: &str = "x-one-of";

const SCHEMA: &str = "#/components/schemas/";
/// What is said by a schema alone, so that it needs no name.
const SCALARS: [&str; 4] = ["string", "integer", "number", "boolean"];
/// Names of which no language makes a type.
const FLAGS: [&str; 2] = ["True", "False"];

/// What is not a schema itself, and has things by names of their own: one may be called like a keyword.
const MAPS: [&str; 5] = ["properties", "responses", "schemas", "headers", "paths"];

/// Brings a completed document into that form.
pub(super) fn simplify(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    simplify_schemas(&schemas, document);
    let mut referred = BTreeSet::new();
    collect_references(document, &mut referred);
    if let Some(Value::Object(named)) = document.pointer_mut("/components/schemas") {
        named.retain(|name, _| referred.contains(name));
    }
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.flat_map(|item| item.as_object_mut().into_iter().flat_map(|item| item.values_mut())) {
        let described = operation["summary"].as_str().map(|summary| format!("{summary}."));
        if let (Value::Object(operation), Some(described)) = (&mut *operation, described) {
            operation.entry("description").or_insert(described.into());
            operation.entry("parameters").or_insert_with(|| json!([]));
        }
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            let description = "Whether the reply is indented";
            parameters.push(json!({
                "name": "pretty", "in": "query", "description": description, "required": false,
                "schema": { "type": "boolean" },
            }));
        }
        files_are_binary(operation);
        examples::show(operation);
        if let Some(Value::Object(content)) = operation.pointer_mut("/requestBody/content") {
            forms_come_first(content);
        }
    }
}

/// Of several types generators take the first one, and do not make the type of a form that comes later.
fn forms_come_first(content: &mut Map<String, Value>) {
    if let Some(form) = content.shift_remove("multipart/form-data") {
        content.shift_insert(0, "multipart/form-data".into(), form);
    }
}

/// The names of all schemas that are referred to.
fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SCHEMA));
            found.extend(name.map(str::to_owned));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A file is a text of bytes, and no list of numbers.
fn files_are_binary(operation: &mut Value) {
    let replies = operation["responses"].as_object_mut().into_iter().flat_map(|replies| replies.values_mut());
    let replies = replies.filter_map(|reply| reply.pointer_mut("/content/application~1octet-stream/schema"));
    replies.for_each(|schema| *schema = json!({ "type": "string", "format": "binary" }));
    if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1octet-stream/schema") {
        *schema = json!({ "type": "string", "format": "binary" });
    }
}

/// All schemas in it, the inner ones first.
fn simplify_schemas(schemas: &Map<String, Value>, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| simplify_schemas(schemas, item)),
        Value::Object(members) => {
            // What is an example is not a schema.
            let inner = members.iter_mut().filter(|(name, _)| !["example", "examples", RULES].contains(&name.as_str()));
            inner.for_each(|(name, member)| match member {
                Value::Object(named) if MAPS.contains(&name.as_str()) => {
                    named.values_mut().for_each(|member| simplify_schemas(schemas, member));
                }
                member => simplify_schemas(schemas, member),
            });
            // Generators know defaults of words and numbers only.
            if members.get("default").is_some_and(|default| default.is_object() || default.is_array()) {
                members.shift_remove("default");
            }
            if let Some(Value::Array(parts)) = members.get_mut("allOf") {
                parts.iter_mut().for_each(|part| simplify_optional_part(schemas, part));
            }
            for keyword in ["oneOf", "anyOf"] {
                simplify_optional(members, keyword);
                if let Some(Value::Array(alternatives)) = members.get_mut(keyword) {
                    alternatives.iter_mut().for_each(leave_reference);
                }
            }
            simplify_reference(schemas, members);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Something or null: by its type where it is a word, otherwise as the two alternatives, and the rest beside them.
fn simplify_optional(members: &mut Map<String, Value>, keyword: &str) {
    let nothing = json!({ "type": "null" });
    let Some(Value::Array(parts)) = members.get(keyword) else { return };
    let Some(place) = parts.iter().position(|part| *part == nothing).filter(|_| parts.len() == 2) else { return };
    let Value::Object(mut something) = parts[1 - place].clone() else { return };
    members.shift_remove(keyword);
    let kind = something.get("type").and_then(Value::as_str).map(str::to_owned);
    match kind {
        Some(kind) => {
            something.insert("type".into(), json!([kind, "null"]));
            if let Some(Value::Array(words)) = something.get_mut("enum") {
                words.push(Value::Null);
            }
            let outer = std::mem::replace(members, something);
            members.extend(outer);
        }
        None => {
            let is_named = |name: &String| ["$ref", "allOf", "oneOf", "anyOf"].contains(&name.as_str());
            let (named, beside): (Map<_, _>, Map<_, _>) = something.into_iter().partition(|(name, _)| is_named(name));
            let outer = std::mem::replace(members, beside);
            members.extend(outer);
            members.insert(keyword.into(), json!([named, nothing]));
        }
    }
}

/// A part of an object that may be missing as a whole: its members, none of which is needed.
fn simplify_optional_part(schemas: &Map<String, Value>, part: &mut Value) {
    let nothing = json!({ "type": "null" });
    let alternatives = ["oneOf", "anyOf"].into_iter().find_map(|keyword| part[keyword].as_array());
    let Some(alternatives) = alternatives.filter(|alternatives| alternatives.contains(&nothing)) else { return };
    let name = alternatives.iter().find_map(|alternative| alternative["$ref"].as_str()?.strip_prefix(SCHEMA));
    let Some(mut members) = name.and_then(|name| schemas[name].as_object()).cloned() else { return };
    members.retain(|name, _| name != "required" && name != "description");
    *part = Value::Object(members);
    simplify_schemas(schemas, part);
}

/// An alternative that refers to something has nothing to say beside it.
fn leave_reference(alternative: &mut Value) {
    if let Some(reference) = alternative.pointer("/allOf/0/$ref").cloned() {
        *alternative = json!({ "$ref": reference });
    }
}

/// A reference has nothing beside it. One to a word is what it refers to.
fn simplify_reference(schemas: &Map<String, Value>, members: &mut Map<String, Value>) {
    let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SCHEMA)) else { return };
    let found = &schemas[name];
    let is_scalar = SCALARS.iter().any(|scalar| found["type"] == *scalar) && found.get("enum").is_none();
    if is_scalar || FLAGS.contains(&name) {
        let beside = std::mem::replace(members, found.as_object().cloned().unwrap_or_default());
        members.extend(beside.into_iter().filter(|(name, _)| name != "$ref"));
    } else if members.len() > 1 {
        let reference = members.shift_remove("$ref").unwrap_or_default();
        members.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
}
