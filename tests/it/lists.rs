//! Lists that take long keep nobody else waiting, and are given up with their clients.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Database, PASSWORD, Setup, TestHost, eventually};

/// The lists of jobs that wait for a lock in this database.
const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%as places (app, word, before%'";

/// A quarter of the connections of a server.
const SHARE: i64 = 4;

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
    eventually("lists to hang", async || (waiting(&host.database).await == SHARE).then_some(())).await;

    let log_in = json!({ "username": "admin", "password": PASSWORD });
    assert_eq!(host.client.anonymous().post("/global/tokens", &log_in).await.status, 201);
    assert_eq!(host.client.get("/app").await.status, 200);
    assert!(waiting(&host.database).await <= SHARE, "lists have taken connections of others");
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
    // It would end by its deadline in the database, too: on a machine that is slow now, this may take more than one try.
    for _ in 0..5 {
        let client = host.client.clone();
        let list = tokio::spawn(async move { client.get("/job").await });
        eventually("the list to hang", async || (waiting(&host.database).await == 1).then_some(())).await;
        list.abort();
        let began = Instant::now();
        eventually("the statement to be given up", async || (waiting(&host.database).await == 0).then_some(())).await;
        if began.elapsed() < Duration::from_secs(3) {
            return;
        }
    }
    panic!("it went on up to its deadline");
}

#[tokio::test]
async fn a_list_of_documents_whose_client_hangs_up_is_given_up_in_the_database() {
    // Nothing else is to look at them.
    let host = Setup::default().flag("--server-check-seconds", 0).start().await;
    host.create_application("shop").await;
    let mut blocker = host.database.connect().await;
    for (path, table) in [
        ("/app", "applications"),
        ("/server", "servers"),
        ("/server/environments", "servers"),
        ("/app/shop/builds", "builds"),
        ("/app/shop/builds?order=-created", "builds"),
        ("/app/shop/builds/1/files", "builds"),
        ("/app/shop/packagemaps", "package_maps"),
        ("/app/shop/gitrepos", "git_repos"),
        ("/app/shop/gitdeploys", "gitdeploys"),
        ("/app/shop/groups", "groups"),
        ("/app/shop/census", "group_servers"),
        ("/global/gitproviders", "git_providers"),
        ("/global/keypairs", "keypairs"),
    ] {
        let mut blocking = blocker.begin().await.unwrap();
        // What it is made of is locked with a view.
        let lock = format!("lock table {table} in access exclusive mode");
        blocking.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
        let hanging = async |wanted: i64| {
            let hanging = "select count(*) from pg_stat_activity where datname = current_database()
                and wait_event_type = 'Lock' and query like 'select%'";
            let mut connection = host.database.connect().await;
            let found: i64 = sqlx::query_scalar(hanging).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            (found == wanted).then_some(())
        };
        let client = host.client.clone();
        let list = tokio::spawn(async move { client.get(path).await });
        eventually(&format!("{path} to hang"), async || hanging(1).await).await;
        list.abort();
        eventually(&format!("{path} to be given up"), async || hanging(0).await).await;
        blocking.rollback().await.unwrap();
    }
}

/// Thirty thousand jobs, one a second: nearly all are of three applications, some of twenty, and very few of a hundred.
const SKEWED: &str = "
    insert into applications (name) select 'busy' || n from generate_series(1, 3) n;
    insert into applications (name) select 'middle' || n from generate_series(1, 20) n;
    insert into applications (name) select 'quiet' || n from generate_series(1, 100) n;
    insert into jobs (id, job_type, name, application, username, status, data, plugin, timeout_ms, created_at)
    select (lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
        case when n > 29000 and n % 5 = 0 then 'deployment' else 'action' end, 'Do' || n % 7,
        case when n % 10 < 8 then 'busy' || 1 + n % 3 when n % 10 = 8 then 'middle' || 1 + n / 10 % 20
            when n < 3000 then 'quiet' || 1 + n / 10 % 100 else 'busy1' end,
        case when n = 5000 then 'seldom' else 'user' || n % 11 end,
        case when n > 29000 and n % 5 = 0 then 'queued' when n % 50 = 1 then 'failed' when n % 200 = 3 then 'cancelled'
            else 'succeeded' end,
        '{}', case when n % 1000 = 8 then 'rare' else 'often' end, 1000, to_timestamp(1700000000 + n)
    from generate_series(1, 30000) n;
    analyze jobs";

/// How many pages are compared of each list.
const PAGES: usize = 20;

#[tokio::test]
async fn a_list_is_complete_for_every_caller_and_filter_and_reads_few_jobs() {
    let host = TestHost::start().await;
    let mut database = host.database.connect().await;
    database.execute(SKEWED).await.unwrap();
    let mut callers = vec![(host.client.clone(), "true")];
    for (name, apps, visible) in [
        ("all", json!({ "*": "read" }), "true"),
        ("few", json!({ "middle*": "read", "quiet*": "read" }), "application ~ '^(middle|quiet)'"),
        ("skewed", json!({ "busy1": "read", "quiet*": "read" }), "application ~ '^(busy1$|quiet)'"),
        ("one", json!({ "busy2": "read" }), "application = 'busy2'"),
    ] {
        let new = json!({ "username": name, "password": "a good secret", "permissions": { "apps": apps } });
        assert_eq!(host.client.post("/global/users", &new).await.status, 201);
        let log_in = json!({ "username": name, "password": "a good secret" });
        let token = host.client.anonymous().post("/global/tokens", &log_in).await;
        callers.push((host.client.with_token(token.body["token"].as_str().unwrap()), visible));
    }
    let before = rows_read(&host, &mut database).await;
    let mut requests = 0;
    let filters = [
        ("", "true"),
        ("status=failed", "status = 'failed'"),
        ("status=failed,cancelled", "status in ('failed', 'cancelled')"),
        ("status=succeeded", "status = 'succeeded'"),
        ("active=true", "status = 'queued'"),
        ("name=Do3", "name = 'Do3'"),
        ("name=Do3&status=failed", "name = 'Do3' and status = 'failed'"),
        ("username=user5", "username = 'user5'"),
        ("username=seldom", "username = 'seldom'"),
        ("plugin=rare", "plugin = 'rare'"),
        ("type=deployment", "job_type = 'deployment'"),
        ("app=quiet7,busy1", "application in ('quiet7', 'busy1')"),
        ("app=quiet7&name=Do3", "application = 'quiet7' and name = 'Do3'"),
        ("id_suffix=1388", "id::text like '%1388'"),
        (
            "since=2023-11-15T01:00:00Z&until=2023-11-15T01:10:00.5Z",
            "created_at >= '2023-11-15T01:00:00Z' and created_at < '2023-11-15T01:10:00.5Z'",
        ),
    ];
    let both_ways = filters.iter().flat_map(|(filter, condition)| {
        [String::new(), "&order=created".to_owned()].map(|order| (format!("{filter}{order}"), condition))
    });
    for (filter, condition) in both_ways {
        for (client, visible) in &callers {
            let order = if filter.contains("order=created") { "" } else { "desc" };
            let wanted =
                format!("select id::text from jobs where {condition} and {visible} order by id {order} limit 2000");
            let wanted: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(wanted)).fetch_all(&mut database).await.unwrap();
            let (mut found, mut next, mut pages) = (Vec::new(), Some(format!("/job?limit=100&{filter}")), 0);
            while let Some(page) = next.take_if(|_| pages < PAGES) {
                let page = client.get(&page).await;
                assert_eq!(page.status, 200, "{page}");
                let items = page.body["items"].as_array().unwrap();
                found.extend(items.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()));
                next = page.body["next"].as_str().map(|after| format!("/job?limit=100&{filter}&after={after}"));
                pages += 1;
            }
            requests += pages as i64;
            let all = next.is_none() || found.len() >= wanted.len();
            assert!(all, "{filter} where {visible}: {} of {} in {pages} pages", found.len(), wanted.len());
            assert!(found.len() >= wanted.len().min(100), "{filter} where {visible}: {} jobs", found.len());
            let both = found.len().min(wanted.len());
            assert!(found[..both] == wanted[..both], "{filter} where {visible}: others, or in another order");
        }
    }
    let read = rows_read(&host, &mut database).await - before;
    assert!(read / requests < 6_000, "{read} rows were read by {requests} requests");
}

/// How many entries of the indexes of jobs have been read.
async fn rows_read(host: &TestHost, database: &mut PgConnection) -> i64 {
    // A connection tells it after a statement, and not more often than once a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(host.client.get("/job?limit=1").await.status, 200);
    let read = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'jobs'";
    sqlx::query_scalar(read).fetch_one(database).await.unwrap()
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
