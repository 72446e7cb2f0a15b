//! The ids of Salt's jobs: 20 digits, a time in UTC to the microsecond. Each is another one, and the job of a command has
//! the one of its command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// A microsecond that no other id of this host has.
pub(crate) fn next_microsecond() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let now = u64::try_from(now).unwrap_or_default();
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    now.max(before.unwrap_or_default() + 1)
}

/// A UUID of version 7 that holds a microsecond: the milliseconds, and what is beyond them in the bits behind the version.
pub(crate) fn uuid_of(microsecond: u64) -> Uuid {
    let beyond = u16::try_from(microsecond % 1000).unwrap_or_default();
    let mut random: [u8; 10] = rand::random();
    [random[0], random[1]] = beyond.to_be_bytes();
    Builder::from_unix_timestamp_millis(microsecond / 1000, &random).into_uuid()
}

/// The jid of the command with this id.
pub(super) fn jid_of(id: Uuid) -> String {
    let number = id.as_u128();
    let milliseconds = u64::try_from(number >> 80).unwrap_or_default();
    let beyond = u64::try_from((number >> 64) & 0x3ff).unwrap_or_default();
    written(milliseconds * 1000 + beyond)
}

/// One that is no command's.
pub(super) fn new_jid() -> String {
    written(next_microsecond())
}

fn written(microsecond: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(microsecond) * 1000);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{:06}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{jid_of, new_jid, next_microsecond, uuid_of};

    #[test]
    fn a_jid_is_the_time_in_the_id_of_its_command() {
        assert_eq!(jid_of(uuid_of(1_767_225_600_123_456)), "20260101000000123456");
        assert_eq!(jid_of(uuid_of(1_767_225_600_000_999)), "20260101000000000999");
    }

    #[test]
    fn no_two_are_the_same() {
        let jids: HashSet<_> =
            (0..2000).map(|n| if n % 2 == 0 { new_jid() } else { jid_of(uuid_of(next_microsecond())) }).collect();
        assert_eq!(jids.len(), 2000);
        assert!(jids.iter().all(|jid| jid.len() == 20));
    }
}
