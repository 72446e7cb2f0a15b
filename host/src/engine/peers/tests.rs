use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::Peers;
use crate::datasvc::{HostId, Peer, TIME_TO_LIVE, WorkerId};

#[test]
fn whoever_beats_lives_however_the_clock_of_the_database_jumps() {
    let (mut peers, began) = (Peers::default(), Instant::now());
    let [steady, dead] = [WorkerId::new(), WorkerId::new()];
    let day = Duration::from_secs(24 * 3600);
    let time = OffsetDateTime::now_utc();
    let beats = [time, time + 2 * day, time - 2 * day, time, time + Duration::from_secs(10), time - day];
    for (looks, beat) in beats.into_iter().enumerate() {
        let now = began + Duration::from_secs(2) * u32::try_from(looks).expect("a few");
        let peer = |worker, beat| Peer { worker, host: HostId::new(), place: String::new(), beat };
        peers.look(&[peer(steady, beat), peer(dead, time)], now);
        let silent: Vec<_> = peers.silent(TIME_TO_LIVE, now).into_iter().map(|(worker, _)| worker).collect();
        assert_eq!(silent, if looks < 4 { vec![] } else { vec![dead] }, "look {looks}");
        assert!(peers.any(now) && !peers.beats(dead) && peers.beats(steady) == (looks > 0));
    }
    peers.look_away();
    assert_eq!(peers.silent(Duration::ZERO, Instant::now()), []);
}
