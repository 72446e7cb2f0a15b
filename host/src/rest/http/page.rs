//! Lists: which part of one is asked for, and how it is answered.

use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::IntoParams;

use super::form;
use super::problem::Problem;
use super::reply::Json;
use crate::datasvc::{Listed, Order, Page};

/// What every list takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::rest) struct PageQuery {
    /// Those with a name that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "web-*")]
    name: Option<String>,
    /// The cursor that the page before gave as `next`.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What every list of documents takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::rest) struct DocumentsQuery {
    /// Those with a name that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "web-*")]
    name: Option<String>,
    /// In which order: by name, the newest first (`-created`) or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: Order,
    /// The cursor that the page before gave as `next`.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl DocumentsQuery {
    /// The page that is asked for.
    ///
    /// # Errors
    /// Those of [`PageQuery::page`].
    pub(in crate::rest) fn page(self) -> Result<Page, Problem> {
        let Self { name, order, after, limit } = self;
        Ok(PageQuery { name, after, limit }.page()?.ordered(order))
    }
}

impl PageQuery {
    pub(in crate::rest) fn new(after: Option<String>, limit: Option<u32>) -> Self {
        Self { name: None, after, limit }
    }

    /// The same of those whose names match.
    pub(in crate::rest) fn named(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// The page that is asked for.
    ///
    /// # Errors
    /// 422 if `limit` is out of its range, or the pattern of names is too long.
    pub(in crate::rest) fn page(self) -> Result<Page, Problem> {
        // An empty cursor is that of the first page.
        let after = self.after.filter(|after| !after.is_empty());
        Ok(Page::new(after, self.limit)?.named(self.name)?)
    }
}

/// A part of a list as a reply, with a link to the next one.
pub(in crate::rest) struct ListReply<B> {
    body: B,
    link: Option<String>,
}

impl<B> ListReply<B> {
    /// The answer to a request for `uri`, with the cursor of the page after it.
    pub(in crate::rest) fn new(uri: &Uri, body: B, next: Option<&str>) -> Self {
        let link = next.map(|cursor| format!("<{}>; rel=\"next\"", next_page(uri, cursor)));
        Self { body, link }
    }
}

impl<T> ListReply<Listed<T>> {
    pub(in crate::rest) fn of(uri: &Uri, listed: Listed<T>) -> Self {
        let next = listed.next.clone();
        Self::new(uri, listed, next.as_deref())
    }
}

impl<B: Serialize> IntoResponse for ListReply<B> {
    fn into_response(self) -> Response {
        match self.link {
            Some(link) => ([(header::LINK, link)], Json(self.body)).into_response(),
            None => Json(self.body).into_response(),
        }
    }
}

/// The same request with another cursor.
fn next_page(uri: &Uri, cursor: &str) -> String {
    // The query has been read once already, so that nothing of it can be lost here.
    let parameters = form::pairs(uri.query().unwrap_or_default()).unwrap_or_default();
    let kept = parameters.iter().filter(|(name, _)| name != "after");
    let query =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair("after", cursor).finish();
    format!("{}?{query}", uri.path())
}
