//! Passwords that are guessed: who has to wait, how long, and who has not.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Client, Database, Elita, PASSWORD, Program, Reply, Setup, TestHost, eventually};
use crate::http::connect;

/// How many failures cost nothing: of a user at an address, and of an address.
const FREE: usize = 5;
const FREE_OF_ADDRESS: usize = 20;

#[tokio::test]
async fn after_some_failures_even_the_right_password_has_to_wait_and_then_it_counts() {
    let host = TestHost::start().await;
    for _ in 0..FREE {
        assert_eq!(log_in(&host.client, "admin", "guess").await.status, 401);
    }
    let began = Instant::now();
    let refused = log_in(&host.client, "admin", PASSWORD).await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too-many-requests")), "{refused}");
    assert_eq!(refused.header("retry-after"), "1", "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("wait"), "{refused}");
    eventually("the wait to be over", async || {
        (log_in(&host.client, "admin", PASSWORD).await.status == 201).then_some(())
    })
    .await;
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    // What was before is forgotten.
    assert_eq!(log_in(&host.client, "admin", "guess").await.status, 401);
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.status, 201);
}

#[tokio::test]
async fn a_lost_password_is_set_anew_by_whoever_has_the_host() {
    let host = TestHost::start().await;
    for _ in 0..=FREE {
        log_in(&host.client, "admin", "guess").await;
    }
    let url = &host.database.url;
    let reset = ["admin", "reset-password", "--database-url", url];
    let said = Elita::new().run(&reset).await;
    assert_eq!(said.code, 0, "{said:?}");
    let password = said.stdout.trim();
    assert_eq!(password.len(), 32, "{said:?}");
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.status, 401);
    assert_eq!(log_in(&host.client, "admin", password).await.status, 201);
    eventually("the tokens from before to end", async || (host.client.get("/app").await.status == 401).then_some(()))
        .await;

    let said = Elita::new().with("ELITA_ADMIN_PASSWORD", "chosen by hand").run(&reset).await;
    assert_eq!((said.code, &*said.stdout), (0, ""), "{said:?}");
    let token = log_in(&host.client, "admin", "chosen by hand").await;
    let client = host.client.with_token(token.body["token"].as_str().unwrap());
    let audited = client.get("/global/audit?operation=users.reset-password").await;
    assert_eq!(audited.items("name"), ["admin", "admin"]);
    assert!(!audited.body.to_string().contains("chosen"), "{audited}");

    for (arguments, why) in [
        (vec!["admin", "reset-password", "nobody", "--database-url", url], "user `nobody` does not exist"),
        (vec!["admin", "reset-password", "--data-dir", "/nowhere"], "/nowhere is not the data directory"),
        (vec!["admin", "reset-password", "no name"], "a name is 1 to 128 of"),
    ] {
        let said = Elita::new().run(&arguments).await;
        assert!(said.code != 0 && said.stderr.contains(why), "{said:?}");
    }
    let short = Elita::new().with("ELITA_ADMIN_PASSWORD", "short").run(&reset).await;
    assert!(short.code != 0 && short.stderr.contains("8 to 1024 characters"), "{short:?}");
}

#[tokio::test]
async fn each_failure_more_makes_the_wait_longer() {
    let host = TestHost::start().await;
    failed(&host, "admin", "127.0.0.1", 9).await;
    let refused = log_in(&host.client, "admin", PASSWORD).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "16"), "{refused}");
    // Who does not wait does not make it longer.
    for _ in 0..10 {
        assert_eq!(log_in(&host.client, "admin", "guess").await.status, 429);
    }
    assert!(log_in(&host.client, "admin", PASSWORD).await.header("retry-after").parse::<u32>().unwrap() <= 16);
    failed(&host, "admin", "127.0.0.1", 1_000_000).await;
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.header("retry-after"), "900");
}

#[tokio::test]
async fn it_is_the_same_on_all_servers() {
    let storage = tempfile::tempdir().unwrap();
    let first = Setup::default().sharing(&storage).start().await;
    let second = Setup::default().sharing(&storage).start_on(first.database.clone()).await;
    for attempt in 0..FREE {
        let host = if attempt % 2 == 0 { &first } else { &second };
        assert_eq!(log_in(&host.client, "admin", "guess").await.status, 401);
    }
    assert_eq!(log_in(&first.client, "admin", PASSWORD).await.status, 429);
    assert_eq!(log_in(&second.client, "admin", PASSWORD).await.status, 429);
}

#[tokio::test]
async fn who_guesses_from_elsewhere_locks_nobody_out() {
    let host = TestHost::start().await;
    let attacker = at(&host, "127.0.0.66");
    for _ in 0..FREE {
        assert_eq!(log_in(&attacker, "admin", "guess").await.status, 401);
    }
    for _ in 0..20 {
        assert_eq!(log_in(&attacker, "admin", PASSWORD).await.status, 429);
    }
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.status, 201);
    assert_eq!(log_in(&at(&host, "127.0.0.2"), "admin", PASSWORD).await.status, 201, "where it never was before");
}

#[tokio::test]
async fn a_user_whom_many_addresses_guess_at_logs_in_from_an_own_address() {
    let host = TestHost::start().await;
    failed(&host, "admin", "", 200).await;
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.status, 201);
    let elsewhere = log_in(&at(&host, "127.0.0.2"), "admin", PASSWORD).await;
    assert_eq!((elsewhere.status, elsewhere.header("retry-after")), (429, "60"), "{elsewhere}");
    failed(&host, "admin", "", 99).await;
    assert_eq!(log_in(&at(&host, "127.0.0.2"), "admin", PASSWORD).await.status, 201);
    // From now on it is one of the user's own, too.
    failed(&host, "admin", "", 200).await;
    assert_eq!(log_in(&at(&host, "127.0.0.2"), "admin", PASSWORD).await.status, 201);
}

#[tokio::test]
async fn an_address_that_tries_many_users_has_to_wait_whatever_the_next_one() {
    let host = TestHost::start().await;
    let new = json!({ "username": "ada", "password": "her own secret" });
    assert_eq!(host.client.post("/global/users", &new).await.status, 201);
    for number in 0..FREE_OF_ADDRESS {
        assert_eq!(log_in(&host.client, &format!("user-{number}"), "guess").await.status, 401);
    }
    assert_eq!(log_in(&host.client, "ada", "her own secret").await.status, 429);
    assert_eq!(log_in(&host.client, "no name at all", "guess").await.status, 429);
    assert_eq!(log_in(&at(&host, "127.0.0.2"), "ada", "her own secret").await.status, 201);
    assert_eq!(log_in(&host.client, "admin", PASSWORD).await.status, 201, "it is the administrator's own address");
}

#[tokio::test]
async fn an_unknown_user_is_throttled_as_a_known_one_is() {
    let host = TestHost::start().await;
    let mut replies = Vec::new();
    for user in ["admin", "nobody"] {
        let client = at(&host, if user == "admin" { "127.0.0.3" } else { "127.0.0.4" });
        for attempt in 0..=FREE {
            let reply = log_in(&client, user, "guess").await;
            assert_eq!(reply.status, if attempt < FREE { 401 } else { 429 }, "{user}: {reply}");
            replies.push((reply.status, reply.header("retry-after").to_owned(), reply.body["detail"].clone()));
        }
    }
    assert_eq!(replies[..=FREE], replies[FREE + 1..]);
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let host = TestHost::start().await;
    let took = async |user: &str, address: String| {
        let client = at(&host, &address);
        let began = Instant::now();
        assert_eq!(log_in(&client, user, "guess").await.status, 401);
        began.elapsed()
    };
    for unknown in ["nobody", "no name at all", "", "_global"] {
        let (mut known, mut unknown_took) = (Duration::MAX, Duration::MAX);
        // By turns, so that what else the machine does slows both.
        for number in 2..10 {
            known = known.min(took("admin", format!("127.1.0.{number}")).await);
            unknown_took = unknown_took.min(took(unknown, format!("127.1.1.{number}")).await);
        }
        // Without the work for the password it would be a tenth. Of eight the fastest is the least disturbed.
        assert!(unknown_took > known / 2, "{unknown:?} took {unknown_took:?}, and a wrong password {known:?}");
        assert!(unknown_took < known * 3, "{unknown:?} took {unknown_took:?}, and a wrong password {known:?}");
        forget(&host, "").await;
    }
}

#[tokio::test]
async fn two_hundred_logins_at_once_leave_memory_flat() {
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let mut elita = Program::serve(&flags);
    let (_, client) = elita.ready(&database.token).await;
    // What a few at once take is what there is to take, once the allocator has what it keeps for each thread.
    for _ in 0..5 {
        at_once(&client, 8).await;
    }
    let before_kib = elita.peak_memory_kib();
    let replies = at_once(&client, 200).await;
    let grown_kib = elita.peak_memory_kib() - before_kib;
    // Each hash takes 19 MiB while it is made.
    assert!(grown_kib < 19 * 1024, "memory grew by {grown_kib} KiB");
    let let_in = replies.iter().filter(|reply| reply.status == 201).count();
    let waits = replies.iter().filter(|reply| reply.status == 429).map(|reply| reply.header("retry-after"));
    assert!(waits.clone().all(|wait| wait == "2"), "{replies:?}");
    assert_eq!(let_in + waits.clone().count(), 200, "{replies:?}");
    assert!(let_in > 0 && waits.count() > 0, "{replies:?}");
    assert_eq!(log_in(&client, "admin", PASSWORD).await.status, 201);
    elita.signal(Signal::TERM);
    assert_eq!(elita.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_failure_counts_also_if_its_client_hangs_up() {
    let host = TestHost::start().await;
    let mut connection = host.database.connect().await;
    // So that the password is not looked at yet.
    let mut change = connection.begin().await.unwrap();
    change.execute("lock table users in access exclusive mode").await.unwrap();
    let body = json!({ "username": "impatient", "password": "a wrong guess" }).to_string();
    let request = format!(
        "POST /global/tokens HTTP/1.1\r\nHost: elita\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = connect(&host.client).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let mut other = host.database.connect().await;
    eventually("the login to wait for the lock", async || {
        let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock'
                                        and datname = current_database() and query like '%password_hash%')";
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&mut other).await.unwrap();
        waits.then_some(())
    })
    .await;
    client.shutdown().await.unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).await.unwrap();
    assert!(reply.is_empty(), "it was answered: {}", reply.escape_ascii());
    change.commit().await.unwrap();
    eventually("the failure to be counted", async || {
        let counted = "select exists (select from logins where username = 'impatient' and failures > 0)";
        let counted: bool = sqlx::query_scalar(counted).fetch_one(&mut other).await.unwrap();
        counted.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_login_does_not_outlive_the_password_that_it_was_made_with() {
    let host = TestHost::start().await;
    let mut connection = host.database.connect().await;
    let mut change = connection.begin().await.unwrap();
    change.execute("update users set password_hash = 'another' where name = 'admin'").await.unwrap();
    let client = host.client.clone();
    let login = tokio::spawn(async move { log_in(&client, "admin", PASSWORD).await });
    let mut other = host.database.connect().await;
    eventually("the login to wait for the change", async || {
        let waits = "select exists (select from pg_stat_activity
                                    where wait_event_type = 'Lock' and datname = current_database())";
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&mut other).await.unwrap();
        (waits || login.is_finished()).then_some(())
    })
    .await;
    change.commit().await.unwrap();
    assert_eq!(login.await.unwrap().status, 401);
}

#[tokio::test]
async fn what_is_remembered_of_failures_does_not_grow_for_ever() {
    let host = TestHost::start().await;
    let mut database = host.database.connect().await;
    let old = "insert into logins (username, address, failures, failed_at)
                   select 'user-' || n, '192.0.2.1', 1, now() - interval '2 hours' from generate_series(1, 5000) as n";
    sqlx::query(old).execute(&mut database).await.unwrap();
    let mut number = 0;
    eventually("old rows to be removed", async || {
        number += 1;
        forget(&host, "where username not like 'user-%'").await;
        log_in(&host.client, &format!("somebody-{number}"), "guess").await;
        let left = sqlx::query_scalar("select count(*) from logins where username like 'user-%'");
        let left: i64 = left.fetch_one(&mut database).await.unwrap();
        (left < 5000).then_some(())
    })
    .await;
}

async fn log_in(client: &Client, username: &str, password: &str) -> Reply {
    let client = client.anonymous();
    client.post("/global/tokens", &json!({ "username": username, "password": password })).await
}

/// So many right ones.
async fn at_once(client: &Client, logins: usize) -> Vec<Reply> {
    let mut replies = tokio::task::JoinSet::new();
    for _ in 0..logins {
        let client = client.clone();
        replies.spawn(async move { log_in(&client, "admin", PASSWORD).await });
    }
    replies.join_all().await
}

/// The host's client, from another address of this machine.
fn at(host: &TestHost, address: &str) -> Client {
    host.client.from(address.parse::<IpAddr>().unwrap())
}

/// Puts it on record that so many logins have just failed.
async fn failed(host: &TestHost, username: &str, address: &str, failures: i32) {
    let put = "insert into logins (username, address, failures, failed_at) values ($1, $2, $3, now())
               on conflict (username, address) do update set failures = $3, failed_at = now()";
    let put = sqlx::query(put).bind(username).bind(address).bind(failures);
    put.execute(&mut host.database.connect().await).await.unwrap();
}

/// Removes what is on record.
async fn forget(host: &TestHost, condition: &str) {
    let remove = sqlx::AssertSqlSafe(format!("delete from logins {condition}"));
    sqlx::query(remove).execute(&mut host.database.connect().await).await.unwrap();
}
