//! pgbouncer between a server and Postgres.

use serde_json::json;

use crate::harness::{Database, OwnPostgres, PgBouncer, Program, Setup};

#[tokio::test]
async fn behind_a_pgbouncer_in_session_mode_everything_works() {
    // The tests' own lets in nobody but the user who runs it, and pgbouncer is another one.
    let postgres = OwnPostgres::start();
    let database = postgres.database().await;
    let pooler = PgBouncer::to(&database, "session").await;
    let through = Database { url: pooler.url(), ..database };
    let host = Setup::default().plugins(&["widgets"]).start_on(through).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(job["job_data"].as_array().map(Vec::len), Some(3), "{job:#}");
    let host = host.restart().await;
    assert_eq!(host.client.get("/app").await.items("app_name"), ["my_application"]);
}

#[tokio::test]
async fn a_pgbouncer_in_transaction_or_statement_mode_is_refused_in_words() {
    let postgres = OwnPostgres::start();
    for mode in ["transaction", "statement"] {
        // A new one, so that not even a table is made.
        let database = postgres.empty_database().await;
        let pooler = PgBouncer::to(&database, mode).await;
        let data_dir = tempfile::tempdir().unwrap();
        let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &pooler.url()];
        let (code, stderr) = Program::serve(&flags).ended().await;
        assert_eq!(code, Some(1), "{mode}: {stderr}");
        let sentence = "set `pool_mode = session` for this database, with a `pool_size` of at least 21 for each server";
        assert!(stderr.contains(sentence), "{mode}: {stderr}");
        let tables = "select count(*) from information_schema.tables where table_schema = 'public'";
        let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut database.connect().await).await.unwrap();
        assert_eq!(json!(tables), 0, "{mode}");
    }
}
