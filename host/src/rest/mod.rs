//! The REST door: HTTP in, calls of `datasvc` and `jobs`, documents out.
//!
//! Knows no rule and no query. Each noun has a file with its handlers, which have four steps: who asks, what for, do
//! it, reply. Around them:
//!
//! - [`server`] accepts connections, [`tls`] encrypts them, [`connection`] answers on one; [`front`] is what every
//!   request passes, [`api`] is the OpenAPI document;
//! - [`pace`] reads bodies that may be long, and [`idempotency`] tells whether a request came before;
//! - [`auth`] gives a handler its caller, [`session`] one that goes on for long, [`client`] the address; [`path`],
//!   [`args`], [`several`] and [`parameters`] are what is asked, read from the URL and the body by [`form`], [`body`] and [`json`];
//! - [`document`] is what clients change, and [`reply`] and [`page`] are what it answers, [`problem`] is what it answers
//!   when something is wrong.
//!
//! axum's and hyper's types stay in this module.

mod about;
mod actions;
mod api;
mod applications;
mod args;
mod audit;
mod auth;
mod body;
mod builds;
mod census;
mod client;
mod connection;
mod document;
mod events;
mod form;
mod front;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod groups;
mod idempotency;
mod jobs;
mod json;
mod keypairs;
mod pace;
mod package_maps;
mod packages;
mod page;
mod parameters;
mod path;
mod plugins;
mod problem;
mod range;
mod reply;
mod server;
mod servers;
mod session;
mod several;
mod tls;
mod tokens;
mod uploads;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use self::api::Api;
use self::auth::TokenCache;
use self::body::Bodies;
use self::front::Front;
use self::session::Sessions;
use crate::datasvc::DataSvc;
use crate::jobs::Jobs;

pub use client::TrustedProxies;
pub use server::{ServerSettings, serve};
pub use tls::{Tls, TlsError};

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    svc: DataSvc,
    jobs: Jobs,
    tokens: Arc<TokenCache>,
    sessions: Sessions,
    bodies: Arc<Bodies>,
    /// For operations that need no token.
    strangers_bodies: Arc<Bodies>,
    body_within: Duration,
    /// A permit is a file that comes in.
    uploads: Arc<Semaphore>,
}

impl Rest {
    /// A door to these services, for clients that send the body of a request within this time, and for so many uploads
    /// at a time.
    pub fn new(svc: DataSvc, jobs: Jobs, body_within: Duration, uploads: usize) -> Self {
        let tokens = Arc::<TokenCache>::default();
        Self {
            sessions: Sessions::new(svc.clone(), Arc::clone(&tokens)),
            svc,
            jobs,
            tokens,
            bodies: Arc::new(Bodies::of_users(body_within)),
            strangers_bodies: Arc::new(Bodies::of_strangers(body_within)),
            body_within,
            uploads: Arc::new(Semaphore::new(uploads)),
        }
    }
}

/// All routes, with all that every request passes.
pub fn router(rest: Rest) -> Router {
    let routes = OpenApiRouter::with_openapi(api::frame())
        .merge(about::router())
        .merge(applications::router())
        .merge(actions::router())
        .merge(audit::router())
        .merge(builds::router())
        .merge(census::router())
        .merge(git_providers::router())
        .merge(git_repos::router())
        .merge(gitdeploys::router())
        .merge(groups::router())
        .merge(jobs::router())
        .merge(keypairs::router())
        .merge(package_maps::router())
        .merge(packages::router())
        .merge(plugins::router())
        .merge(servers::router())
        .merge(tokens::router())
        .merge(uploads::router())
        .merge(users::router());
    fronted(rest, routes)
}

/// Those for a server that only runs jobs: what it is and whether it is well.
pub fn health_router(rest: Rest) -> Router {
    fronted(rest, OpenApiRouter::with_openapi(api::frame()).merge(about::health_router()))
}

fn fronted(rest: Rest, routes: OpenApiRouter<Rest>) -> Router {
    let (routes, document) = routes.split_for_parts();
    let api = Arc::new(Api::new(document));
    let front = Arc::new(Front::new(Arc::clone(&api), rest.body_within));
    routes
        .fallback(front::nothing_there)
        .method_not_allowed_fallback(front::not_allowed)
        .layer(Extension(api))
        .layer(middleware::from_fn_with_state(front, front::front))
        .with_state(rest)
}
