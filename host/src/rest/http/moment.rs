//! Moments as clients write them: a date, or a date with a time and perhaps an offset, in any form of RFC 3339 and of
//! what people make of it.

use serde::de::{Deserialize, Deserializer, Error};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time, UtcOffset, macros::format_description};

/// A moment. One without an offset is in UTC, and a date is its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::rest) struct Moment(pub(in crate::rest) OffsetDateTime);

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
            return Some(Self(date.with_time(Time::MIDNIGHT).assume_offset(UtcOffset::UTC)));
        }
        let (date, behind) = (text.get(..10)?, text.get(11..)?);
        text.get(10..11).filter(|between| ["T", "t", " "].contains(between))?;
        // A `+` in a query string that was not escaped is a space.
        let offset_at = behind.find(['Z', 'z', '+', '-', ' ']).unwrap_or(behind.len());
        let (time, offset) = behind.split_at(offset_at);
        let seconds = if time.len() == "12:00".len() { ":00" } else { "" };
        let offset = match offset.strip_prefix(' ') {
            Some(offset) => format!("+{offset}"),
            None => offset.to_ascii_uppercase(),
        };
        let offset = match offset.len() {
            0 => "Z".to_owned(),
            // `+02` and `+0200`.
            3 => format!("{offset}:00"),
            5 => format!("{}:{}", offset.get(..3)?, offset.get(3..)?),
            _ => offset,
        };
        OffsetDateTime::parse(&format!("{date}T{time}{seconds}{offset}"), &Rfc3339).ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom("expected a date such as `2026-11-22`, or a time such as `2026-11-22T12:00:00Z`")
        })
    }
}

impl From<Moment> for OffsetDateTime {
    fn from(Moment(moment): Moment) -> Self {
        moment
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::Moment;

    #[test]
    fn a_moment_is_understood_in_every_form_that_says_it() {
        for text in [
            "2026-11-22T12:00:00Z",
            "2026-11-22t12:00:00z",
            "2026-11-22 12:00:00Z",
            "2026-11-22T12:00:00.000Z",
            "2026-11-22T14:00:00+02:00",
            // As a query string has it whose `+` was not escaped.
            "2026-11-22T14:00:00 02:00",
            "2026-11-22T14:00:00+0200",
            "2026-11-22T14:00+02",
            "2026-11-22T07:00:00-05:00",
            "2026-11-22T12:00:00",
            "2026-11-22T12:00",
        ] {
            assert_eq!(Moment::parse(text), Some(Moment(datetime!(2026-11-22 12:00 UTC))), "{text}");
        }
        assert_eq!(Moment::parse("2026-11-22"), Some(Moment(datetime!(2026-11-22 0:00 UTC))));
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-11-22T",
            "2026-11-22T25:00:00Z",
            "12:00",
            "1764763200",
            "2026-11-2é T",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
