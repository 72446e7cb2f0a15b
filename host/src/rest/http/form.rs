//! Names and values as query strings and urlencoded forms write them, read strictly: what cannot be decoded to text
//! is refused, where browsers would put a replacement character.

use super::problem::{Fault, Problem};

/// The pairs in their order, repeats kept; a name without `=` has an empty value.
///
/// # Errors
/// 400 if a percent-encoding is broken, gives no UTF-8 or gives a NUL.
pub(in crate::rest) fn pairs(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let segments = text.split('&').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| {
            let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
            let name = decode(name).map_err(|fault| Problem::malformed(format!("the name of a parameter {fault}")))?;
            let value = decode(value).map_err(|fault| {
                let detail = format!("the value of the parameter `{name}` {fault}");
                Problem::malformed(detail).with([Fault::in_parameter(&name, fault)])
            })?;
            Ok((name, value))
        })
        .collect()
}

/// One name or value. The error goes on with a sentence that began with what was decoded.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit)) {
                (Some(high), Some(low)) => 16 * high + low,
                _ => return Err("has a `%` without two hexadecimal digits"),
            },
            other => other,
        });
    }
    if decoded.contains(&0) {
        return Err("contains a NUL");
    }
    String::from_utf8(decoded).map_err(|_| "is not UTF-8")
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
