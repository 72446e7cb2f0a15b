//! JSON texts of guests: kept as they are, if everyone can read them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::datasvc::Json;

/// The text as JSON that parsers, and Postgres, can make something of, or what is wrong with it: it may not be JSON,
/// be nested too deep, or hold half a character, a NUL or a number beyond all bounds.
pub(super) fn parse(text: String) -> Result<Json, String> {
    serde_json::from_str::<Readable>(&text).map_err(no_json)?;
    RawValue::from_string(text).map_err(no_json)
}

fn no_json(error: serde_json::Error) -> String {
    format!("not JSON that can be kept: {error}")
}

/// A value that is read, which takes no memory, and not kept.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadableVisitor)
    }
}

struct ReadableVisitor;

impl<'de> Visitor<'de> for ReadableVisitor {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Readable, E> {
        if text.contains('\0') { Err(E::custom("a text contains a NUL")) } else { Ok(Readable) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Readable, A::Error> {
        while items.next_element::<Readable>()?.is_some() {}
        Ok(Readable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Readable, A::Error> {
        while members.next_entry::<Readable, Readable>()?.is_some() {}
        Ok(Readable)
    }
}
