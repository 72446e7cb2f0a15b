//! Lists, page by page.

use serde_json::Value;
use url::form_urlencoded;

use super::Client;
use crate::failure::Result;

/// The largest page that servers give.
const LARGEST_PAGE: usize = 1000;

/// What was read of a list.
pub(crate) struct Items {
    pub(crate) items: Vec<Value>,
    /// Whether there are more.
    pub(crate) has_more: bool,
}

impl Client {
    /// The first `limit` items of a list, or all of them.
    pub(crate) async fn list(&self, path: &str, query: &[(&str, String)], limit: Option<usize>) -> Result<Items> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = limit.map_or(LARGEST_PAGE, |limit| (limit - items.len()).min(LARGEST_PAGE));
            let mut query = query.to_vec();
            query.push(("limit", wanted.to_string()));
            query.extend(after.take().map(|after| ("after", after)));
            let mut page = self.get(with_query(path, &query)).await?;
            if let Value::Array(found) = page["items"].take() {
                items.extend(found);
            }
            let next = match &page["next"] {
                Value::Null => None,
                Value::String(next) => Some(next.clone()),
                other => Some(other.to_string()),
            };
            let is_enough = limit.is_some_and(|limit| items.len() >= limit);
            if next.is_none() || is_enough {
                return Ok(Items { items, has_more: next.is_some() });
            }
            after = next;
        }
    }
}

/// A path with its query.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}
