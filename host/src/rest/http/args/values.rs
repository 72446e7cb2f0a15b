//! From arguments to a struct's fields, by serde. A text becomes what its field is: a number, a flag, a word.

use std::fmt;

use serde::Deserializer;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::de::StrRead;

use super::{Argument, Value};
use crate::datasvc::{check_integers, plainly, pointer};
use crate::rest::http::json;

/// How arguments do not fit a struct.
#[derive(Debug)]
pub(super) enum Misfit {
    /// The struct has no such fields.
    Unknown {
        /// What was given.
        names: Vec<String>,
        /// What the struct has.
        known: &'static [&'static str],
    },
    /// A name is given more than once.
    Repeated(String),
    /// A field that every request needs is not given.
    Missing(&'static str),
    /// A value is not of its field's type.
    Wrong {
        /// The field's name.
        name: String,
        /// Where in the value, as a JSON pointer; empty: the value itself.
        below: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Arguments that are to fill a struct.
pub(super) struct Fields<'a>(pub(super) &'a [Argument]);

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = Misfit;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let names: Vec<_> = self.0.iter().map(|argument| argument.name.as_str()).collect();
        let unknown: Vec<_> =
            names.iter().filter(|name| !known.contains(name)).map(|name| (*name).to_owned()).collect();
        if !unknown.is_empty() {
            return Err(Misfit::Unknown { names: unknown, known });
        }
        if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(Misfit::Repeated((*name).to_owned()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Entries { arguments: self.0.iter(), value: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The walk over the arguments.
struct Entries<'a> {
    arguments: std::slice::Iter<'a, Argument>,
    value: Option<&'a Argument>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.value = self.arguments.next();
        self.value.map(|argument| seed.deserialize(BorrowedStrDeserializer::new(&argument.name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let argument = self.value.take().ok_or_else(|| Misfit::custom("a value without a name"))?;
        let read = match &argument.value {
            Value::Text(text) => seed.deserialize(Text(text)),
            Value::Json(json) => from_json(json.get(), |json| seed.deserialize(json)),
        };
        read.map_err(|misfit| misfit.of(&argument.name))
    }
}

/// What `read` makes of a JSON text; the error says where in it.
fn from_json<'de, T>(
    text: &'de str,
    read: impl FnOnce(
        serde_path_to_error::Deserializer<'_, '_, &mut serde_json::Deserializer<StrRead<'de>>>,
    ) -> serde_json::Result<T>,
) -> Result<T, Misfit> {
    check_integers(text).map_err(Misfit::custom)?;
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_str(text);
    read(serde_path_to_error::Deserializer::new(&mut json, &mut track)).map_err(|error| Misfit::Wrong {
        name: String::new(),
        below: pointer(&track.path()),
        reason: plainly(&error.to_string()),
    })
}

/// One value from a query string or a form.
struct Text<'a>(&'a str);

/// Methods for what is written as JSON in a query string, too.
macro_rules! json {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Misfit> {
            if json::text(self.0.as_bytes()).is_err() {
                return Err(Misfit::custom("expected JSON"));
            }
            from_json(self.0, |json| json.$method($($argument,)* visitor))
        }
    )*};
}

/// Methods that parse the text as the type they are named for.
macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Misfit::custom(concat!("expected ", $expected))),
            }
        }
    )*};
}

/// A flag in a query string, in capitals or not.
pub(in crate::rest) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Misfit;

    parsed! {
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_u32 visit_u32 "a whole number";
        deserialize_u64 visit_u64 "a whole number";
        deserialize_f64 visit_f64 "a number";
    }

    /// Also as Python writes it.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match flag(self.0) {
            Some(flag) => visitor.visit_bool(flag),
            None => Err(Misfit::custom("expected `true` or `false`")),
        }
    }

    json! {
        deserialize_map();
        deserialize_seq();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

impl Misfit {
    /// The same, once it is known which field it is about.
    fn of(self, field: &str) -> Self {
        match self {
            Self::Wrong { below, reason, .. } => Self::Wrong { name: field.to_owned(), below, reason },
            other => other,
        }
    }
}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Wrong { name: String::new(), below: String::new(), reason: plainly(&message.to_string()) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl std::error::Error for Misfit {}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { names, .. } => write!(f, "unknown: {}", names.join(", ")),
            Self::Repeated(name) => write!(f, "{name} is given twice"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Wrong { name, below, reason } => write!(f, "{name}{below}: {reason}"),
        }
    }
}
