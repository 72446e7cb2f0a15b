use std::time::Duration;

use super::*;

fn app(name: &str) -> Option<AppName> {
    Some(AppName::parse(name).expect("a name"))
}

async fn waits(turn: &mut (impl Future<Output = Turn> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(20), turn).await.is_err()
}

#[tokio::test]
async fn an_application_leaves_half_of_the_places_to_others() {
    let turns = Turns::new(4);
    let (_first, second) = (turns.take(&app("a")).await, turns.take(&app("a")).await);
    let (a, of_a) = (app("a"), turns.clone());
    let mut third = Box::pin(async move { of_a.take(&a).await });
    assert!(waits(&mut third).await);
    let _other = turns.take(&app("b")).await;
    drop(second);
    third.await;
}

#[tokio::test]
async fn who_has_the_fewest_comes_next() {
    let turns = Turns::new(2);
    let (first, other) = (turns.take(&app("a")).await, turns.take(&app("b")).await);
    let (a, c) = (app("a"), app("c"));
    let (mut of_a, mut of_c) = (Box::pin(turns.take(&a)), Box::pin(turns.take(&c)));
    assert!(waits(&mut of_a).await && waits(&mut of_c).await);
    drop(other);
    of_c.await;
    drop(first);
    of_a.await;
}

#[tokio::test]
async fn who_no_longer_waits_gets_none() {
    let turns = Turns::new(1);
    let first = turns.take(&app("a")).await;
    let b = app("b");
    let mut given_up = Box::pin(turns.take(&b));
    assert!(waits(&mut given_up).await);
    drop(given_up);
    drop(first);
    turns.take(&app("c")).await;
}
