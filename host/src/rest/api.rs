//! The OpenAPI document, made of the handlers' own descriptions, and what is read off it: each route's operation.

mod examples;
mod generators;
pub(super) mod put;
mod schemas;

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Object, OpenApi, Ref, RefOr, Response, Schema, Type};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};

use super::http::auth::AUTH_TOKEN;
use super::http::document::JsonPatch;
use super::http::problem::{Document, PROBLEM_JSON};
use crate::datasvc::{BaseUrl, GitProviderAuth, PasswordAuth, TokenAuth};

/// The frame that the handlers' descriptions are put into.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Elita",
        description = DESCRIPTION,
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "about", description = "What the server is, and this document"),
        (name = "health", description = "Whether the server is well"),
        (name = "applications", description = "Applications, to which nearly everything belongs"),
        (name = "actions", description = "What plugins offer for an application. Running one is a job"),
        (name = "builds", description = "Builds, their files and their packages"),
        (name = "package-maps", description = "Which packages are made of an upload"),
        (name = "git-repos", description = "The git repositories that packages are committed to"),
        (name = "gitdeploys", description = "Which package goes to which path on servers, and through which repository"),
        (name = "deployments", description = "Builds that go to servers, in batches"),
        (name = "groups", description = "Which gitdeploys are deployed together, and to which servers"),
        (name = "servers", description = "Servers that builds are deployed to"),
        (name = "git-providers", description = "Services that host git repositories"),
        (name = "keypairs", description = "SSH keys"),
        (name = "jobs", description = "Jobs: request, progress and result"),
        (name = "events", description = "What happens, as it happens"),
        (name = "plugins", description = "What is loaded, and what it may do"),
        (name = "users", description = "Who may do what"),
        (name = "tokens", description = "Logging in and out"),
        (name = "audit", description = "Who changed what")
    ),
    components(schemas(Document, JsonPatch, True, GitProviderAuth, TokenAuth, PasswordAuth, BaseUrl))
)]
struct Frame;

/// What holds for all operations.
const DESCRIPTION: &str = "\
A WebAssembly plugin host for deployment automation.

Every operation takes `pretty=true`, which indents the reply. A creation takes its arguments in the body, in the query \
string, or in both, if they agree; in a query string, what is not a string, number or boolean is written as JSON. No string contains a NUL.

Formats of strings, in addition to those of JSON Schema:

- `absolute-path`: a directory below the root, as Unix or Windows write it, without `.`, `..` and control characters
- `git-branch`: what git takes as the name of a branch
- `git-uri`: an `https`, `http`, `ssh`, `git` or `file` URL, `user@host:path`, or an absolute path; without a password
- `glob`: a pattern of paths, in which `*` stays within a directory and `**` does not, without `/` at its beginning and `..`
- `path-prefix`: the beginning of such a path
- `ssh-private-key`: in OpenSSH's format, without a passphrase
- `ssh-public-key`: a line of `authorized_keys`
- `ssh-key-type`: the first word of such a line, also without `ssh-`";

/// A flag that has to be set.
pub(super) struct True;

impl PartialSchema for True {
    fn schema() -> RefOr<Schema> {
        Object::builder().schema_type(Type::Boolean).enum_values(Some([true])).into()
    }
}

impl ToSchema for True {}

/// The document to begin with, without any operation.
pub(super) fn frame() -> OpenApi {
    let mut document = Frame::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(AUTH_TOKEN))));
    let no_scopes: [&str; 0] = [];
    document.security = Some([BEARER, API_KEY].map(|scheme| SecurityRequirement::new(scheme, no_scopes)).into());
    document
}

const BEARER: &str = "bearer";
const API_KEY: &str = "auth_token";

/// The finished document.
pub(super) struct Api {
    /// As JSON.
    pub(super) document: String,
    /// Operation ids by route and method.
    operation_ids: HashMap<String, Vec<(Method, String)>>,
}

impl Api {
    /// Completes the document that the routes made.
    pub(super) fn new(mut document: OpenApi) -> Self {
        let mut operation_ids = HashMap::new();
        for (route, item) in &mut document.paths.paths {
            let of_route: &mut Vec<_> = operation_ids.entry(route.clone()).or_default();
            for (method, operation) in operations(item) {
                if method == Method::PATCH {
                    let failed = || Response::new("A test in a JSON Patch fails").into();
                    operation.responses.responses.entry("409".into()).or_insert_with(failed);
                }
                if method == Method::GET {
                    let same = || Response::new("It is what `If-None-Match` names").into();
                    operation.responses.responses.entry("304".into()).or_insert_with(same);
                }
                describe_replies(operation);
                of_route.extend(operation.operation_id.clone().map(|id| (method, id)));
            }
        }
        let mut document =
            serde_json::to_value(document).expect("the document is made of strings, lists and maps with string keys");
        schemas::complete(&mut document);
        generators::simplify(&mut document);
        Self { document: format!("{document}\n"), operation_ids }
    }

    /// The operation that a request to this route asks for.
    pub(super) fn operation_id(&self, method: &Method, route: &str) -> Option<&str> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let (_, id) = self.operation_ids.get(route)?.iter().find(|(known, _)| known == method)?;
        Some(id)
    }

    /// All routes.
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        self.operation_ids.keys().map(String::as_str)
    }

    /// The methods of a route.
    pub(super) fn methods(&self, route: &str) -> impl Iterator<Item = &Method> {
        self.operation_ids.get(route).into_iter().flatten().map(|(method, _)| method)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

/// Adds the problems that all operations may answer with, and to each reply what can be said of all of its status.
fn describe_replies(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    // An operation that says nothing of security needs a token.
    if operation.security.is_none() {
        let no_token = || Response::new("No token, or one that is not valid").into();
        responses.entry("401".into()).or_insert_with(no_token);
    }
    responses.entry("default".into()).or_insert_with(|| Response::new("Any other problem").into());
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status == "default" || status.starts_with(['4', '5']) {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM_JSON.into(), content.into());
        }
        if response.description.is_empty() {
            let reason = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
            response.description = reason.unwrap_or(status).to_owned();
        }
    }
}
