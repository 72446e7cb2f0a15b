//! The least that a server can do: hyper and a pool. For a GET one prepared SELECT, and the row as the same document as
//! Elita's GET /job/{id}; for a POST one prepared INSERT, and its id.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::LazyLock;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::types::Json;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::pgbench;

/// As many as Elita has by default.
const CONNECTIONS: u32 = 16;

/// That of `DataSvc::job`.
const SELECT: &str = "select id, name, job_type, status, application, username, data, attempt, plugin, \
     component_digest, result, error, created_at, updated_at, started_at, completed_at, cancel_requested_at \
     from jobs where id = $1";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    job_type: String,
    status: String,
    application: Option<String>,
    username: Option<String>,
    data: Json<Box<RawValue>>,
    attempt: i32,
    plugin: Option<String>,
    component_digest: Option<Vec<u8>>,
    result: Option<Json<Box<RawValue>>>,
    error: Option<Json<Box<RawValue>>>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    completed_at: Option<OffsetDateTime>,
    cancel_requested_at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct Document {
    job_id: Uuid,
    name: String,
    job_type: String,
    status: String,
    application: Option<String>,
    username: Option<String>,
    data: Json<Box<RawValue>>,
    attempt: i32,
    plugin: Option<Plugin>,
    result: Option<Json<Box<RawValue>>>,
    error: Option<Json<Box<RawValue>>>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    completed_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    cancel_requested_at: Option<OffsetDateTime>,
    duration_in_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Plugin {
    name: String,
    digest: String,
}

/// Prints its address and serves until it is killed.
pub(crate) async fn serve(url: &str) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).connect(url).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = pool.clone();
        let service = service_fn(move |request| answer(pool.clone(), request));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(pool: PgPool, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    let reply = match *request.method() {
        Method::POST => insert(&pool).await.map(|id| (StatusCode::ACCEPTED, id)),
        _ => document(&pool, request.uri().path()).await.map(|document| (StatusCode::OK, document)),
    };
    match reply {
        Ok((status, body)) => (*response.status_mut(), *response.body_mut()) = (status, body),
        Err(problem) => {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            *response.body_mut() = problem.to_string();
        }
    }
    Ok(response)
}

async fn insert(pool: &PgPool) -> anyhow::Result<String> {
    // As pgbench has it.
    static INSERT: LazyLock<String> = LazyLock::new(pgbench::insert);
    let id: Uuid = sqlx::query_scalar(AssertSqlSafe(INSERT.as_str())).fetch_one(pool).await?;
    Ok(format!(r#"{{"job_id":"{id}"}}"#))
}

async fn document(pool: &PgPool, path: &str) -> anyhow::Result<String> {
    let id: Uuid = path.trim_start_matches("/job/").parse()?;
    let row: Row = sqlx::query_as(SELECT).bind(id).fetch_one(pool).await?;
    let until = row.completed_at.unwrap_or_else(OffsetDateTime::now_utc);
    let digest = |digest: Vec<u8>| {
        digest.iter().fold(String::from("sha256:"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let document = Document {
        job_id: row.id,
        name: row.name,
        job_type: row.job_type,
        status: row.status,
        application: row.application,
        username: row.username,
        data: row.data,
        attempt: row.attempt,
        plugin: row.plugin.zip(row.component_digest).map(|(name, of)| Plugin { name, digest: digest(of) }),
        result: row.result,
        error: row.error,
        created_at: row.created_at,
        updated_at: row.updated_at,
        started_at: row.started_at,
        completed_at: row.completed_at,
        cancel_requested_at: row.cancel_requested_at,
        duration_in_seconds: row.started_at.map(|from| (until - from).as_seconds_f64().max(0.0)),
    };
    Ok(serde_json::to_string(&document)?)
}
