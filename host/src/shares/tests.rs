use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Place, Shares, network};

fn take(shares: &Arc<Shares<&'static str>>, key: &'static str, units: usize) -> Option<Place<&'static str>> {
    shares.take(key, units, || {})
}

#[test]
fn one_may_have_all_until_another_needs_some() {
    let shares = Shares::new(4);
    let ousted = Arc::new(AtomicUsize::new(0));
    let mine: Vec<_> = (0..4)
        .map(|place| {
            let ousted = Arc::clone(&ousted);
            shares.take("greedy", 1, move || ousted.store(place, Ordering::Relaxed)).unwrap()
        })
        .collect();
    assert!(take(&shares, "greedy", 1).is_none());
    let first = take(&shares, "other", 1).unwrap();
    assert_eq!(ousted.load(Ordering::Relaxed), 3, "the newest goes");
    let second = take(&shares, "other", 1).unwrap();
    assert!(take(&shares, "other", 1).is_none(), "they hold the same");
    // Who has lost a place gives back none.
    drop(mine);
    let _all = [take(&shares, "third", 1).unwrap(), take(&shares, "third", 1).unwrap()];
    assert!(take(&shares, "third", 1).is_none());
    drop((first, second));
    assert!(take(&shares, "third", 1).is_some());
}

#[test]
fn a_place_grows_at_the_cost_of_the_largest() {
    let shares = Shares::new(100);
    let large = take(&shares, "large", 90).unwrap();
    let small = take(&shares, "small", 10).unwrap();
    assert!(!large.grow(1));
    assert!(small.grow(20));
    assert!(!large.grow(1), "it was taken away");
    assert!(small.grow(70));
    assert!(!small.grow(1));
}

#[test]
fn an_address_of_ipv6_counts_for_its_network() {
    let of = |address: &str| network(address.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
}
