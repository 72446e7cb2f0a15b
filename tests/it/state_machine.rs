//! The states of jobs, whatever fails: some workers, driven by a seed, take jobs in, run them, freeze and die, while
//! statements, answers and connections are lost between every two steps. In the end every answer must have been true.
//!
//! `ELITA_SEEDS=200` tries more seeds, `ELITA_SEED=17` that one alone. A seed decides every step; what is on its way at
//! the same time, Postgres interleaves as it likes, so that a failure may need some more runs to come again:
//! `ELITA_SEED=17 ELITA_SEEDS=50` tries that one fifty times.

mod call;
mod journal;
mod rows;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::{LocalSet, spawn_local};

use self::world::World;
use crate::harness::Database;

/// How many seeds are tried where nobody asks for more.
const SEEDS: u64 = 12;
/// How many are tried at a time: most of it is waiting.
const LANES: usize = 4;
/// How many steps a seed decides.
const STEPS: usize = 200;

#[tokio::test]
async fn whatever_fails_between_two_steps_every_answer_was_true() {
    let seeds = Rc::new(RefCell::new(seeds().into_iter()));
    let lanes = LocalSet::new();
    let tried = lanes.run_until(async {
        let all: Vec<_> = (0..LANES).map(|_| spawn_local(try_all(seeds.clone()))).collect();
        for lane in all {
            lane.await.unwrap();
        }
    });
    tried.await;
}

/// Tries one seed after the other, in a database of its own.
async fn try_all(seeds: Rc<RefCell<std::vec::IntoIter<u64>>>) {
    let database = Database::new().await;
    loop {
        let Some(seed) = seeds.borrow_mut().next() else { return };
        println!("seed {seed} begins");
        let began = Instant::now();
        let mut world = World::new(&database, seed).await;
        let ended = match world.live(STEPS).await {
            Ok(()) => world.recover().await,
            broken => broken,
        };
        match ended {
            Ok(()) => println!("seed {seed}: {} in {:?}", world.summary(), began.elapsed()),
            Err(broken) => panic!("seed {seed}: {}", world.report(&broken).await),
        }
    }
}

/// From the environment: one seed, so often, or so many.
fn seeds() -> Vec<u64> {
    let asked = |name| std::env::var(name).ok().map(|value| value.parse().unwrap());
    match (asked("ELITA_SEED"), asked("ELITA_SEEDS")) {
        (Some(seed), times) => vec![seed; times.map_or(1, |times| usize::try_from(times).unwrap())],
        (None, count) => (0..count.unwrap_or(SEEDS)).collect(),
    }
}
