//! From the texts of a request to the types an action asks for, as a serde data format.
//!
//! A [`Parameter`] is a name with all values the request gives it; [`Parameters`] is the whole request. What can
//! go wrong is told in the words of whoever made the request.

use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// How much of a value an error message shows.
const SHOWN_CHARS: usize = 64;

pub(crate) fn decode_one<T: DeserializeOwned>(parameters: &[(String, String)], name: &str) -> Result<T> {
    T::deserialize(Parameter::of(parameters, name)).map_err(into_error)
}

pub(crate) fn decode_all<T: DeserializeOwned>(parameters: &[(String, String)]) -> Result<T> {
    T::deserialize(Parameters(parameters)).map_err(into_error)
}

fn into_error(problem: Problem) -> Error {
    Error::new(problem.0)
}

/// What is wrong, as a sentence that names the parameter.
#[derive(Debug)]
struct Problem(String);

impl Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn missing_field(name: &'static str) -> Self {
        Self(format!("parameter `{name}` is missing"))
    }
}

/// All parameters of a request.
struct Parameters<'a>(&'a [(String, String)]);

impl<'a> Parameters<'a> {
    /// Each name once, in the order in which they first appear.
    fn by_name(&self) -> Vec<(&'a str, Parameter<'a>)> {
        let mut found: Vec<(&str, Parameter<'_>)> = Vec::new();
        for (name, value) in self.0 {
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, parameter)) => parameter.values.push(value),
                None => found.push((name, Parameter { name, values: vec![value] })),
            }
        }
        found
    }
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(MapDeserializer::new(self.by_name().into_iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// One name with its values, in the order of the request.
struct Parameter<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Parameter<'a> {
    fn of(parameters: &'a [(String, String)], name: &'a str) -> Self {
        let values = parameters.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        Self { name, values: values.collect() }
    }

    /// The value of a parameter that must be there exactly once.
    fn single(&self) -> Result<&'a str, Problem> {
        match self.values[..] {
            [value] => Ok(value),
            [] => Err(Problem(format!("parameter `{}` is missing", self.name))),
            [_, _, ..] => Err(self.problem(format!("given {} times, and one value is expected", self.values.len()))),
        }
    }

    fn parse<T>(&self, expected: impl Display, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
        let value = self.single()?;
        read(value).ok_or_else(|| self.problem(format!("`{}` is not {expected}", shown(value))))
    }

    fn problem(&self, message: impl Display) -> Problem {
        Problem(format!("parameter `{}`: {message}", self.name))
    }

    /// Lets a type that has its own idea of a text (an enum, a time) read the single value.
    fn visit_text<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Problem>
    where
        'a: 'de,
    {
        visitor.visit_borrowed_str(self.single()?).map_err(|problem: Problem| self.problem(problem))
    }

    fn visit_json<'de, T>(
        &self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'a>>) -> serde_json::Result<T>,
    ) -> Result<T, Problem> {
        let mut json = serde_json::Deserializer::from_str(self.single()?);
        let value = read(&mut json).and_then(|value| json.end().map(|()| value));
        value.map_err(|error| self.problem(error))
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Parameter<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let expected = format_args!("an integer of {} to {}", <$type>::MIN, <$type>::MAX);
            visitor.$visit(self.parse::<$type>(expected, |value| value.parse().ok())?)
        }
    )+};
}

impl<'de> Deserializer<'de> for Parameter<'de> {
    type Error = Problem;

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_bool(self.parse("true or false", |value| value.to_ascii_lowercase().parse().ok())?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let finite = |value: &str| value.parse().ok().filter(|number: &f64| number.is_finite());
        visitor.visit_f64(self.parse("a number", finite)?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_char(self.parse("a single character", |value| value.parse().ok())?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if matches!(self.values[..], [] | ["null"]) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let name = self.name;
        let each = self.values.into_iter().map(|value| Parameter { name, values: vec![value] });
        visitor.visit_seq(SeqDeserializer::new(each))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(self.single()?.into_deserializer()).map_err(|problem: Problem| self.problem(problem))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.visit_json(|json| json.deserialize_tuple(len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.visit_json(|json| json.deserialize_tuple_struct(name, len, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit_json(|json| json.deserialize_map(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.visit_json(|json| json.deserialize_struct(name, fields, visitor))
    }

    /// For types that take anything, such as `serde_json::Value`. Numbers stay texts: `1.10` may be a version.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let is_json = |value: &str| value == "null" || value.starts_with(['{', '[']);
        match self.values[..] {
            [value] if is_json(value) && serde_json::from_str::<de::IgnoredAny>(value).is_ok() => {
                self.visit_json(|json| json.deserialize_any(visitor))
            }
            _ => self.visit_text(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { str string bytes byte_buf unit unit_struct identifier }
}

/// A value as an error message shows it.
fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
