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
/// 400 if it is not JSON, is nested too deep or contains a NUL; 422 if it is not an object.
pub(in crate::rest) fn members(body: &[u8]) -> Result<Members, Problem> {
    let text = checked(body)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor).and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| match error.classify() {
        Category::Data => {
            let detail = "the body has to be a JSON object";
            Problem::invalid(detail).with([Fault::at_body(detail)])
        }
        Category::Syntax | Category::Eof | Category::Io => Problem::malformed(format!("the body is not JSON: {error}")),
    })
}

/// The text of a body that has to be one JSON value.
///
/// # Errors
/// 400 if it is not JSON, is nested too deep or contains a NUL.
pub(in crate::rest) fn text(body: &[u8]) -> Result<&str, Problem> {
    let text = checked(body)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
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

/// Writes JSON on several lines. Works on the text, so that numbers and the order of members stay as they are, and on a
/// piece of it at a time.
#[derive(Default)]
pub(in crate::rest) struct Indenter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// An array or object has just begun, which may end at once.
    opened: bool,
}

/// The same JSON on several lines.
pub(in crate::rest) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * json.len());
    let mut indenter = Indenter::default();
    json.iter().for_each(|byte| indenter.push(*byte, &mut out));
    out.push(b'\n');
    out
}

impl Indenter {
    /// Takes the next byte, and writes what comes of it.
    pub(in crate::rest) fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_string {
            out.push(byte);
            self.in_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            return;
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return;
        }
        let closes = matches!(byte, b'}' | b']');
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        if std::mem::take(&mut self.opened) != closes {
            break_line(out, self.depth);
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => break_line(out, self.depth),
            b':' => out.push(b' '),
            _ => self.in_string = byte == b'"',
        }
    }
}

fn break_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth.min(MAX_INDENT), b' ');
}

#[cfg(test)]
mod tests;
