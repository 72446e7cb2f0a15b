//! The REST API: HTTP in, calls of `datasvc`, `engine` and `work`, documents out.
//!
//! Knows no rule and no query. Each noun has a file with its handlers, which have four steps: who asks, what for, do
//! it, reply. [`http`] is what they have in common, and [`api`] is the OpenAPI document.
//!
//! axum's and hyper's types stay in this module.

mod about;
mod actions;
mod api;
mod applications;
mod audit;
mod builds;
mod census;
mod deployments;
mod events;
mod feed;
mod git;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod groups;
mod handovers;
mod http;
mod jobs;
mod keypairs;
mod package_maps;
mod packages;
mod plugins;
mod receipts;
mod servers;
mod tokens;
mod uploads;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

use self::api::Api;
use self::feed::Feed;
use self::http::auth::TokenCache;
use self::http::body::Bodies;
use self::http::front::Front;
use self::http::session::Sessions;
use self::http::whole::{self, Whole};
use crate::datasvc::DataSvc;
use crate::engine::Engine;
use crate::shares::Shares;
use crate::work::Work;

pub use http::client::TrustedProxies;
pub use http::server::{ServerSettings, serve};
pub use http::tls::{Tls, TlsError};

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    svc: DataSvc,
    engine: Engine,
    work: Work,
    /// Becomes true once the plugins that were there at the start are.
    started: watch::Receiver<bool>,
    tokens: Arc<TokenCache>,
    sessions: Sessions,
    feed: Arc<Feed>,
    bodies: Arc<Bodies>,
    /// For operations that need no token.
    strangers_bodies: Arc<Bodies>,
    body_within: Duration,
    /// Its units are files that come in.
    uploads: Arc<Shares<IpAddr>>,
}

impl Rest {
    /// The REST API of these services, for clients that send the body of a request within this time, and for so many
    /// uploads at a time. `started` becomes true once plugins are there.
    pub fn new(
        svc: DataSvc,
        engine: Engine,
        work: Work,
        started: watch::Receiver<bool>,
        body_within: Duration,
        uploads: usize,
    ) -> Self {
        let tokens = Arc::<TokenCache>::default();
        Self {
            sessions: Sessions::new(svc.clone(), Arc::clone(&tokens)),
            feed: Feed::new(svc.clone()),
            svc,
            engine,
            work,
            started,
            tokens,
            bodies: Arc::new(Bodies::of_users(body_within)),
            strangers_bodies: Arc::new(Bodies::of_strangers(body_within)),
            body_within,
            uploads: Shares::new(uploads),
        }
    }
}

/// All routes, with all that every request passes, for web pages of these origins, too.
pub fn router(rest: Rest, origins: &[String]) -> Router {
    let routes = OpenApiRouter::with_openapi(api::frame())
        .merge(about::router())
        .merge(applications::router())
        .merge(actions::router())
        .merge(audit::router())
        .merge(builds::router())
        .merge(census::router())
        .merge(deployments::router())
        .merge(feed::router())
        .merge(git::router())
        .merge(git_providers::router())
        .merge(git_repos::router())
        .merge(gitdeploys::router())
        .merge(groups::router())
        .merge(handovers::router())
        .merge(jobs::router())
        .merge(keypairs::router())
        .merge(package_maps::router())
        .merge(packages::router())
        .merge(plugins::router())
        .merge(receipts::router())
        .merge(servers::router())
        .merge(tokens::router())
        .merge(uploads::router())
        .merge(users::router());
    let router = fronted(rest, routes);
    if origins.is_empty() { router } else { router.layer(http::cors::layer(origins)) }
}

/// Those for a server that only runs jobs: what it is and whether it is well.
pub fn health_router(rest: Rest) -> Router {
    fronted(rest, OpenApiRouter::with_openapi(api::frame()).merge(about::health_router()))
}

fn fronted(rest: Rest, routes: OpenApiRouter<Rest>) -> Router {
    let (routes, document) = routes.split_for_parts();
    let api = Arc::new(Api::new(document));
    let front = Arc::new(Front::new(Arc::clone(&api), rest.body_within));
    let whole = Arc::new(Whole { rest: rest.clone(), api: Arc::clone(&api) });
    routes
        .fallback(http::guide::nothing_there)
        .method_not_allowed_fallback(http::guide::not_allowed)
        .layer(middleware::from_fn_with_state(whole, whole::whole))
        .layer(Extension(api))
        .layer(middleware::from_fn_with_state(front, http::front::front))
        .with_state(rest)
}
