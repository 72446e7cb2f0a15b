use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::{LARGE_BYTES, Turns};

fn has_turn<T>(waiting: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match waiting.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(turn) => Some(turn),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn the_smallest_of_those_that_wait_is_next() {
    let turns = Turns::default();
    let (first, second) = (has_turn(pin!(turns.take(1))).unwrap(), has_turn(pin!(turns.take(1))).unwrap());
    let (mut large, mut small) = (pin!(turns.take(3)), pin!(turns.take(2)));
    assert!(has_turn(large.as_mut()).is_none() && has_turn(small.as_mut()).is_none());
    drop(first);
    assert!(has_turn(large.as_mut()).is_none());
    let third = has_turn(small.as_mut()).unwrap();
    drop(second);
    assert!(has_turn(large.as_mut()).is_some());
    drop(third);
}

#[test]
fn a_large_one_leaves_a_place_to_small_ones() {
    let turns = Turns::default();
    let first = has_turn(pin!(turns.take(LARGE_BYTES + 1))).unwrap();
    let mut second = pin!(turns.take(LARGE_BYTES + 1));
    assert!(has_turn(second.as_mut()).is_none());
    assert!(has_turn(pin!(turns.take(LARGE_BYTES))).is_some());
    drop(first);
    assert!(has_turn(second.as_mut()).is_some());
}

#[test]
fn who_gives_up_waiting_keeps_no_one_else_waiting() {
    let turns = Turns::default();
    let places = (has_turn(pin!(turns.take(9))).unwrap(), has_turn(pin!(turns.take(9))).unwrap());
    let mut patient = pin!(turns.take(2));
    {
        let mut impatient = pin!(turns.take(1));
        assert!(has_turn(impatient.as_mut()).is_none() && has_turn(patient.as_mut()).is_none());
    }
    drop(places);
    assert!(has_turn(patient.as_mut()).is_some());
}
