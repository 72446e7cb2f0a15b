//! Points in time as people like them.

use time::{OffsetDateTime, UtcOffset};

/// How long ago it was, or when, if that is long ago.
pub(super) fn shown(at: OffsetDateTime, now: OffsetDateTime, offset: UtcOffset) -> String {
    let seconds = (now - at).whole_seconds();
    let (count, unit, is_past) = match seconds.unsigned_abs() {
        0..10 if seconds >= 0 => return "just now".into(),
        count @ 0..60 => (count, "s", seconds >= 0),
        count @ 60..3600 => (count / 60, "min", seconds >= 0),
        count @ 3600..86400 => (count / 3600, "h", seconds >= 0),
        count @ 86400..2_592_000 => (count / 86400, "d", seconds >= 0),
        _ => return at.to_offset(offset).date().to_string(),
    };
    if is_past { format!("{count} {unit} ago") } else { format!("in {count} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use time::{Duration, OffsetDateTime, UtcOffset};

    #[test]
    fn what_is_near_is_an_age_and_what_is_far_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
        let ago = |seconds| shown(now - Duration::seconds(seconds), now, UtcOffset::UTC);
        assert_eq!(
            [ago(3), ago(59), ago(120), ago(7300), ago(90_000)],
            ["just now", "59 s ago", "2 min ago", "2 h ago", "1 d ago"]
        );
        assert_eq!(ago(-3600), "in 1 h");
        assert_eq!(ago(100 * 86400), "2026-10-07");
    }
}
