//! The records of an extension header: `<length> <key>=<value>` and the end of a line. A value may have ends of lines in
//! it, and those that nobody needs here may be long: they are passed over by their length.

use std::io::{self, BufRead, BufReader, Read};

use crate::storage::archive::ArchiveError;

/// The longest value that is kept, such as a name.
pub(super) const MAX_VALUE_BYTES: u64 = 64 * 1024;
const MAX_KEY_BYTES: u64 = 1024;
/// Enough for any length.
const MAX_DIGITS: u64 = 20;

/// Reads the records, and shows the value of each that is `wanted`.
pub(super) fn records(
    content: impl Read,
    wanted: impl Fn(&[u8]) -> bool,
    mut show: impl FnMut(&[u8], Vec<u8>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut content = BufReader::with_capacity(4096, content);
    while !content.fill_buf()?.is_empty() {
        let digits = until(&mut content, b' ', MAX_DIGITS)?;
        let length =
            std::str::from_utf8(&digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let length: u64 = length.and_then(|digits| digits.parse().ok()).ok_or_else(broken)?;
        let key = until(&mut content, b'=', MAX_KEY_BYTES)?;
        // To GNU tar a text ends there.
        if key.contains(&0) {
            return Err(broken());
        }
        // Beside the value there are a space, an equals sign and the end of the line.
        let around = (digits.len() + key.len() + 3) as u64;
        let value_bytes = length.checked_sub(around).ok_or_else(broken)?;
        let mut value = (&mut content).take(value_bytes);
        if wanted(&key) {
            let kept = kept(&mut value, value_bytes)?;
            show(&key, kept)?;
        } else {
            io::copy(&mut value, &mut io::sink())?;
        }
        let mut end = [0];
        content.read_exact(&mut end)?;
        if end != *b"\n" {
            return Err(broken());
        }
    }
    Ok(())
}

/// A text of so many bytes, which is not too long to be kept.
pub(super) fn kept(content: &mut impl Read, bytes: u64) -> Result<Vec<u8>, ArchiveError> {
    if bytes > MAX_VALUE_BYTES {
        let why = format!("a name or another extension in it has more than {MAX_VALUE_BYTES} bytes");
        return Err(ArchiveError::TooMuch(why));
    }
    let mut text = Vec::new();
    content.read_to_end(&mut text)?;
    Ok(text)
}

fn until(content: &mut impl BufRead, end: u8, most: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    content.take(most + 1).read_until(end, &mut bytes)?;
    if bytes.pop() == Some(end) { Ok(bytes) } else { Err(broken()) }
}

fn broken() -> ArchiveError {
    ArchiveError::Damaged("an extension header (PAX) has a record that is not valid".into())
}
