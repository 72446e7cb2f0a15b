use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::Clock;

const DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

#[test]
fn ids_follow_the_databases_clock_and_never_go_back_with_it() {
    let (clock, now) = (Clock::new(), OffsetDateTime::now_utc());
    let mut ids = vec![clock.job_id()];
    for at in [now + DAYS, now, now - DAYS, now + Duration::from_secs(1)] {
        clock.learn(Instant::now(), at, None);
        ids.extend([clock.job_id(), clock.job_id()]);
    }
    assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
    // An id holds whole milliseconds.
    let ahead = ids[1].made_at().expect("a time") - now + Duration::from_millis(1);
    assert!((DAYS..DAYS + Duration::from_secs(5)).contains(&ahead.unsigned_abs()), "{ahead}");
}

#[test]
fn ids_are_made_after_those_of_other_servers() {
    let (one, other, now) = (Clock::new(), Clock::new(), OffsetDateTime::now_utc());
    one.learn(Instant::now(), now + DAYS, None);
    let newest = one.job_id();
    other.learn(Instant::now(), now, Some(newest));
    assert!(other.job_id() > newest);
}

#[test]
fn a_slow_answer_does_not_put_back_what_a_fast_one_told() {
    let (clock, now) = (Clock::new(), OffsetDateTime::now_utc() + DAYS);
    let slow = Duration::from_secs(2);
    let long_ago = Instant::now() - slow;
    assert!(!clock.learn(long_ago, now - slow, None), "the first answer was slow: the time is not known well");
    assert!(clock.learn(Instant::now(), now, None));
    let id = clock.job_id();
    assert!(clock.learn(long_ago, now - slow, None), "a slow one that fits");
    assert!(clock.now() >= now && clock.job_id() > id);
    assert!(!clock.learn(long_ago, now + DAYS, None), "the clock was set, and the answer is slow");
    assert!(clock.now() >= now + DAYS);
}

#[test]
fn what_is_removed_is_old_by_every_clock() {
    let (clock, now) = (Clock::new(), OffsetDateTime::now_utc());
    clock.learn(Instant::now(), now, None);
    clock.learn(Instant::now(), now + DAYS, None);
    assert!(clock.now() > now + DAYS - Duration::from_secs(1));
    assert!(clock.settled() < now + Duration::from_secs(60), "the database's clock is ahead");
    clock.learn(Instant::now(), now - DAYS, None);
    assert!(clock.settled() < now - DAYS + Duration::from_secs(60), "the database's clock is behind");
}
