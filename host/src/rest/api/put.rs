//! PUT on a container, with the arguments in the query string: what creates with POST does so, too. The same handler
//! answers, and what the document says of PUT is made of what it says of POST.

use axum::handler::Handler;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{Content, Ref, RefOr, Schema};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::rest::Rest;

/// What PUT takes, as the document says it.
pub(in crate::rest) struct Put {
    summary: Option<&'static str>,
    parameters: Vec<Parameter>,
    body: PutBody,
    /// Components that the body needs.
    schemas: Vec<(String, RefOr<Schema>)>,
}

enum PutBody {
    /// All arguments are in the query string.
    Nothing,
    /// The rest of the arguments.
    Some(RequestBody),
    /// All arguments.
    LikePost,
}

impl Put {
    /// With these arguments in the query string.
    pub(in crate::rest) fn of<T: IntoParams>() -> Self {
        Self { summary: None, parameters: T::into_params(|| None), body: PutBody::Nothing, schemas: Vec::new() }
    }

    /// With the same body as POST. Arguments in the query string are not described.
    pub(in crate::rest) fn like_post() -> Self {
        Self { summary: None, parameters: Vec::new(), body: PutBody::LikePost, schemas: Vec::new() }
    }

    /// With a body for what must not stand in a URL. The body may be left out.
    pub(in crate::rest) fn with_body<T: ToSchema>(mut self) -> Self {
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        self.body = PutBody::Some(RequestBody::builder().content("application/json", content).build());
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        self
    }

    /// With another summary than POST's and where the arguments are.
    pub(in crate::rest) fn summary(self, summary: &'static str) -> Self {
        Self { summary: Some(summary), ..self }
    }

    /// Adds PUT to the routes of a container, which have `create` as their POST.
    pub(in crate::rest) fn beside<T: 'static>(
        self,
        create: impl Handler<T, Rest>,
        (mut schemas, mut paths, methods): UtoipaMethodRouter<Rest>,
    ) -> UtoipaMethodRouter<Rest> {
        for item in paths.paths.values_mut() {
            item.put = item.post.as_ref().map(|post| self.describe(post));
        }
        schemas.extend(self.schemas);
        (schemas, paths, methods.put(create))
    }

    fn describe(&self, post: &Operation) -> Operation {
        let mut put = post.clone();
        put.operation_id = post.operation_id.as_ref().map(|id| id.replace(".create", ".put"));
        put.summary = match (self.summary, &post.summary) {
            (Some(summary), _) => Some(summary.to_owned()),
            // Its first part says what is created, and what follows a comma says what for.
            (None, Some(summary)) => {
                summary.split(',').next().map(|creates| format!("{creates}, with its arguments in the query string"))
            }
            (None, None) => None,
        };
        if !self.parameters.is_empty() {
            put.parameters.get_or_insert_default().extend(self.parameters.iter().cloned().map(RefOr::T));
        }
        match &self.body {
            PutBody::Nothing => put.request_body = None,
            PutBody::Some(body) => put.request_body = Some(RefOr::T(body.clone())),
            PutBody::LikePost => {}
        }
        put
    }
}
