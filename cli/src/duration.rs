//! Times on the command line: `90s`, `15m`, `2h`, `3d`, or RFC 3339 for points in time.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a length of time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number with s, m, h or d, such as 90s".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// Reads a point in time: so long ago, or RFC 3339. The result is RFC 3339.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        return Ok(text.to_owned());
    }
    let ago = duration(text)
        .map_err(|_| "a time is as long ago as 90s, 15m, 2h or 3d, or RFC 3339: 2026-11-22T12:00:00Z".to_owned())?;
    (OffsetDateTime::now_utc() - ago).format(&Rfc3339).map_err(|error| error.to_string())
}

/// A length of time, for people.
pub(crate) fn shown(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, moment};
    use std::time::Duration;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("3d"), Ok(Duration::from_secs(3 * 86400)));
        for wrong in ["", "s", "1", "-1s", "1.5h", "5 m", "9é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(moment("2026-11-22T12:00:00Z").as_deref(), Ok("2026-11-22T12:00:00Z"));
        assert!(moment("yesterday").is_err());
    }
}
