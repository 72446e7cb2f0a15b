//! JSON as text: the members of an object as they were written, and a reply made readable.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::problem::{Fault, Problem};

/// How deep a body may be nested.
const MAX_NESTING: usize = 100;
/// From which depth on a reply is not indented any further, so that its size stays in proportion.
const MAX_INDENT: usize = 32;

/// The members of an object, in their order and with repeated names.
pub(in crate::rest) type Members = Vec<(String, Box<RawValue>)>;

/// Reads a body that has to be an object.
///
/// # Errors
/// 400 if it is no JSON, is nested too deep or contains a NUL; 422 if it is no object.
pub(in crate::rest) fn members(body: &[u8]) -> Result<Members, Problem> {
    let text = checked(body)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor).and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| match error.classify() {
        Category::Data => {
            let detail = "the body has to be a JSON object";
            Problem::invalid(detail).with([Fault::at_body(detail)])
        }
        Category::Syntax | Category::Eof | Category::Io => Problem::malformed(format!("the body is no JSON: {error}")),
    })
}

/// The text of a body that has to be one JSON value.
///
/// # Errors
/// 400 if it is no JSON, is nested too deep or contains a NUL.
pub(in crate::rest) fn text(body: &[u8]) -> Result<&str, Problem> {
    let text = checked(body)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| Problem::malformed(format!("the body is no JSON: {error}")))?;
    Ok(text)
}

fn checked(body: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::malformed(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))?;
    check(text)?;
    Ok(text)
}

/// Refuses what would be dangerous further on, whatever value it stands in.
fn check(text: &str) -> Result<(), Problem> {
    let (mut depth, mut in_string) = (0_usize, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if text.as_bytes()[at..].starts_with(br"\u0000") {
                    return Err(Problem::malformed(format!("the body contains a NUL at byte {at}")));
                }
                bytes.next();
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_NESTING {
                    let detail = format!("the body is nested deeper than {MAX_NESTING} levels at byte {at}");
                    return Err(Problem::malformed(detail));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// The same JSON on several lines. Works on the text, so that numbers and the order of members stay as they are.
pub(in crate::rest) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * json.len());
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, &byte) in json.iter().enumerate() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'{' | b'[' => {
                depth += 1;
                out.push(byte);
                if !closes(&json[at + 1..]) {
                    break_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    break_line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                break_line(&mut out, depth);
            }
            b':' => out.extend(b": "),
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
    out.push(b'\n');
    out
}

/// Whether the array or object that has just begun ends at once.
fn closes(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), Some(b'}' | b']'))
}

fn break_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth.min(MAX_INDENT), b' ');
}

#[cfg(test)]
mod tests;
