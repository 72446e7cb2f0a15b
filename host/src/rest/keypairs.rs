//! `/global/keypairs`: SSH keys, of which only the public half is ever shown.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::True;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query, refuse_in_url};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::{Fault, Problem};
use super::http::reply::Created;
use crate::datasvc::{Attributes, Caller, Keypair, KeypairChange, KeypairName, Listed, NewKeys};

/// What a new keypair needs: `generate`, or a private key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeypair {
    /// Its name, unique in this installation.
    name: KeypairName,
    /// The type that its key has, such as `ed25519` or `ssh-ed25519`.
    #[schema(format = "ssh-key-type", nullable = false)]
    key_type: Option<String>,
    /// In OpenSSH's format, without a passphrase.
    #[schema(format = "ssh-private-key", nullable = false, max_length = 32768)]
    private_key: Option<String>,
    /// As a line of `authorized_keys`. It is not needed: if it is given, it has to belong to the private key.
    #[schema(format = "ssh-public-key", nullable = false, max_length = 32768)]
    public_key: Option<String>,
    /// Makes a new ed25519 key.
    #[serde(default)]
    generate: bool,
    /// What to keep with it.
    #[serde(default)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// What a new keypair needs that is generated.
#[expect(dead_code, reason = "it describes the query string; the handler reads a `NewKeypair`")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct GeneratedKeypair {
    /// Its name, unique in this installation.
    name: KeypairName,
    /// `true`: makes a new ed25519 key. Keys are accepted in the body only.
    #[param(value_type = True)]
    generate: bool,
    /// What to keep with it.
    #[param(required = false)]
    attributes: Attributes,
}

/// Lists the keypairs, by name
#[utoipa::path(get, path = "/global/keypairs", operation_id = "keypairs.list", tag = "keypairs",
    params(DocumentsQuery), responses((status = 200, body = Listed<Keypair>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Keypair>>, Problem> {
    let listed = rest.svc.keypairs(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Adds a keypair, or generates one
#[utoipa::path(post, path = "/global/keypairs", operation_id = "keypairs.create", tag = "keypairs",
    request_body(content((NewKeypair = "application/json"), (NewKeypair = "multipart/form-data"))),
    responses(
        (status = 201, body = Keypair, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The keys cannot be used"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    uri: Uri,
    Args(new): Args<NewKeypair>,
) -> Result<Created<Document<Keypair>>, Problem> {
    let NewKeypair { name, key_type, private_key, public_key, generate, attributes } = new;
    refuse_in_url(&uri, "private_key")?;
    let keys = match (private_key, generate) {
        (Some(private), false) => NewKeys::Given { private, public: public_key },
        (None, true) if public_key.is_none() => NewKeys::Generated,
        _ => {
            let detail = "a keypair needs either `generate` or a `private_key`";
            return Err(Problem::invalid(detail).with([Fault::in_body("private_key", detail)]));
        }
    };
    let keypair = rest.svc.create_keypair(&caller, &name, key_type.as_deref(), keys, &attributes).await?;
    Ok(Created::at(format!("/global/keypairs/{name}"), Document::new(keypair.revision, keypair)))
}

/// Shows a keypair
#[utoipa::path(get, path = "/global/keypairs/{keypair}", operation_id = "keypairs.get", tag = "keypairs",
    params(("keypair" = KeypairName, Path, description = "The keypair")),
    responses((status = 200, body = Keypair), (status = 404, description = "No such keypair")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(keypair): Path<KeypairName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Keypair>, Problem> {
    let keypair = rest.svc.keypair(&caller, &keypair).await?;
    Ok(Document::new(keypair.revision, keypair))
}

/// Changes the attributes of a keypair
#[utoipa::path(patch, path = "/global/keypairs/{keypair}", operation_id = "keypairs.update", tag = "keypairs",
    params(("keypair" = KeypairName, Path, description = "The keypair"), IfMatch),
    request_body(content = KeypairChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Keypair),
        (status = 404, description = "No such keypair"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(keypair): Path<KeypairName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Keypair>, Problem> {
    let keypair = rest.svc.update_keypair(&caller, &keypair, &patch, &expected).await?;
    Ok(Document::new(keypair.revision, keypair))
}

/// Removes a keypair
#[utoipa::path(delete, path = "/global/keypairs/{keypair}", operation_id = "keypairs.delete", tag = "keypairs",
    params(("keypair" = KeypairName, Path, description = "The keypair"), IfMatch),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such keypair"),
        (status = 409, description = "Git repositories use it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(keypair): Path<KeypairName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_keypair(&caller, &keypair, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<GeneratedKeypair>().summary("Makes a keypair, with its arguments in the query string");
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
