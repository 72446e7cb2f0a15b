//! An argument with several values, with commas between them: `status=failed,lost`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// How many values there may be.
const MAX_VALUES: usize = 100;

/// Values in the order in which they came.
#[derive(Debug)]
pub(in crate::rest) struct Several<T>(pub(in crate::rest) Vec<T>);

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SeveralVisitor(PhantomData))
    }
}

struct SeveralVisitor<T>(PhantomData<T>);

impl<T: for<'a> Deserialize<'a>> Visitor<'_> for SeveralVisitor<T> {
    type Value = Several<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values with commas between them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Several<T>, E> {
        let values: Result<Vec<T>, E> =
            text.split(',').take(MAX_VALUES + 1).map(|value| T::deserialize(StrDeserializer::new(value))).collect();
        match values? {
            values if values.len() > MAX_VALUES => Err(E::custom(format!("at most {MAX_VALUES} values are taken"))),
            values => Ok(Several(values)),
        }
    }
}
