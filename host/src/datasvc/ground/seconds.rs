//! Times as clients write them: a number of seconds, or a text such as `90s`, `15m`, `2h` or `90d`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What is expected where there is something else.
const EXPECTED: &str = "a number of seconds, or a time such as `90s`, `15m`, `2h` or `90d`";

/// A time, in whole seconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seconds(pub u64);

impl Seconds {
    /// A number of seconds, or a time with its unit.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse() {
            return Some(Self(seconds));
        }
        let time = humantime::parse_duration(text).ok().filter(|time| time.subsec_nanos() == 0)?;
        Some(Self(time.as_secs()))
    }
}

impl From<Seconds> for Duration {
    fn from(Seconds(seconds): Seconds) -> Self {
        Self::from_secs(seconds)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(seconds))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seconds, E> {
        Seconds::parse(text).ok_or_else(|| E::custom(format!("expected {EXPECTED}")))
    }
}

impl PartialSchema for Seconds {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,6}[smhdw]$"));
        AnyOfBuilder::new().item(number).item(text).into()
    }
}

impl ToSchema for Seconds {}

#[cfg(test)]
mod tests {
    use super::Seconds;

    #[test]
    fn a_time_is_a_number_of_seconds_or_has_its_unit() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("1h 30m", 5400)] {
            assert_eq!(Seconds::parse(text), Some(Seconds(seconds)), "{text}");
        }
        assert_eq!(Seconds::parse("90d"), Some(Seconds(90 * 86_400)));
        for unfit in ["", "-1", "1.5", "h", "500ms", "1 fortnight", "99999999999999999999"] {
            assert_eq!(Seconds::parse(unfit), None, "{unfit}");
        }
    }
}
