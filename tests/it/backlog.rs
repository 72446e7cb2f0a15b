//! The queue beside a transaction that stays open, as a backup's does: what has left the queue cannot be tidied up then.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Setup, eventually};

/// How many jobs have gone through the queue since the transaction began.
const GONE: i64 = 50_000;
/// How many are then run one by one.
const JOBS: usize = 200;

#[tokio::test]
async fn fifty_thousand_jobs_that_an_open_transaction_still_sees_are_not_passed_over_by_every_claim() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--plugin-runs", 1).start().await;
    host.create_application("hostile").await;
    let model = host.run_action("hostile", "Noop", "").await["job_id"].as_str().unwrap().to_owned();
    let mut other = host.database.connect().await;
    let mut open = other.begin().await.unwrap();
    open.execute("set transaction isolation level repeatable read").await.unwrap();
    open.execute("select count(*) from jobs").await.unwrap();
    let mut database = host.database.connect().await;
    pass_through_the_queue(&mut database, &model).await;

    let before = passed_over(&mut database).await;
    let blocker = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&blocker).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(host.post_action("hostile", "Noop", "").await);
    }
    host.client.post_empty(&format!("/job/{blocker}?cancel=true")).await;
    for id in &jobs {
        assert_eq!(host.ended_job(id).await["status"], "succeeded");
    }
    assert_in_order(&mut database).await;
    let passed = passed_over(&mut database).await - before;
    let by_every_claim = GONE * JOBS as i64;
    assert!(passed < by_every_claim / 2, "{passed} entries were passed over by {JOBS} claims");
    open.rollback().await.unwrap();
}

/// Makes jobs as that one is, which are claimed and end.
async fn pass_through_the_queue(database: &mut PgConnection, model: &str) {
    let insert =
        "insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, timeout_ms)
                  select (lpad(to_hex(number), 8, '0') || substr(id::text, 9))::uuid, job_type, name, 'gone',
                         username, data, plugin, component_digest, timeout_ms
                  from jobs, generate_series(1, $2) as number where id = $1::text::uuid";
    // Nobody else is to see them in the queue.
    let mut transaction = database.begin().await.unwrap();
    sqlx::query(insert).bind(model).bind(GONE).execute(&mut *transaction).await.unwrap();
    for update in [
        "update jobs set status = 'running', worker = gen_random_uuid() where application = 'gone'",
        "update jobs set status = 'succeeded', worker = null, completed_at = now() where application = 'gone'",
    ] {
        transaction.execute(update).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// How many entries of the queue's index have been read so far.
async fn passed_over(database: &mut PgConnection) -> i64 {
    // Sessions tell it a second after they have read.
    let read = "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'jobs_lanes'";
    let mut last = -1;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    eventually("the statistics to settle", async || {
        let now: i64 = sqlx::query_scalar(read).fetch_one(&mut *database).await.unwrap();
        let settled = now - last < GONE;
        last = now;
        settled.then_some(now)
    })
    .await
}

/// Those that were started were started in the order of the requests.
async fn assert_in_order(database: &mut PgConnection) {
    let late = "select count(*) from (select started_at < lag(started_at) over (order by id) as late from jobs
                    where application = 'hostile' and name = 'Noop') as started where late";
    let late: i64 = sqlx::query_scalar(late).fetch_one(database).await.unwrap();
    assert_eq!(late, 0);
}
