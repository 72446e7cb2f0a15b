//! Lists that take long keep nobody else waiting, and are given up with their clients.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Database, PASSWORD, TestHost, eventually};

/// The lists of jobs that wait for a lock in this database.
const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like 'with places as%'";

async fn waiting(database: &Database) -> i64 {
    let mut connection = database.connect().await;
    let waiting = sqlx::query_scalar(WAITING).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    waiting
}

#[tokio::test]
async fn lists_that_hang_keep_neither_logins_nor_other_requests_waiting() {
    let host = TestHost::start().await;
    let mut blocker = host.database.connect().await;
    let mut blocking = blocker.begin().await.unwrap();
    blocking.execute("lock table jobs in access exclusive mode").await.unwrap();
    let mut lists = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = host.client.clone();
        lists.spawn(async move { client.get("/job").await.status });
    }
    eventually("lists to hang", async || (waiting(&host.database).await > 0).then_some(())).await;

    let began = Instant::now();
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    assert_eq!(host.client.anonymous().post("/global/tokens", &log_in).await.status, 201);
    assert_eq!(host.client.get("/app").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    // And they do not wait for ever.
    while let Some(status) = lists.join_next().await {
        assert_eq!(status.unwrap(), 503);
    }
}

#[tokio::test]
async fn a_list_whose_client_hangs_up_is_given_up_in_the_database() {
    let host = TestHost::start().await;
    let mut blocker = host.database.connect().await;
    let mut blocking = blocker.begin().await.unwrap();
    blocking.execute("lock table jobs in access exclusive mode").await.unwrap();
    let client = host.client.clone();
    let list = tokio::spawn(async move { client.get("/job").await });
    eventually("the list to hang", async || (waiting(&host.database).await == 1).then_some(())).await;
    list.abort();
    let began = Instant::now();
    eventually("the statement to be given up", async || (waiting(&host.database).await == 0).then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(4), "it went on for {:?}, up to its deadline", began.elapsed());
}

#[tokio::test]
async fn a_request_without_a_body_is_answered_within_the_time_for_answers() {
    let host = TestHost::start().await;
    let mut blocker = host.database.connect().await;
    let mut blocking = blocker.begin().await.unwrap();
    blocking.execute("lock table applications in access exclusive mode").await.unwrap();
    let began = Instant::now();
    let reply = host.client.get("/app").await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("unavailable")), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?}", began.elapsed());
}
