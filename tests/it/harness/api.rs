//! The OpenAPI document of a server, for tests that go through all of it.

use reqwest::Method;
use serde_json::Value;

use super::client::Client;

/// An OpenAPI document.
pub(crate) struct Api {
    pub(crate) document: Value,
}

/// One operation of it.
pub(crate) struct Operation<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) description: &'a Value,
}

impl Operation<'_> {
    /// Its name.
    pub(crate) fn id(&self) -> &str {
        self.description["operationId"].as_str().unwrap()
    }
}

impl Api {
    /// The document of the server that this client talks to.
    pub(crate) async fn of(client: &Client) -> Self {
        let reply = client.get("/openapi.json").await;
        assert_eq!(reply.status, 200, "{reply}");
        Self { document: reply.body }
    }

    /// All operations, by path.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, description)| {
                let method = method.to_uppercase().parse().unwrap();
                Operation { method, path, description }
            })
        })
    }
}

/// A path of the document with a name, the same one, wherever it leaves one open.
pub(crate) fn filled_in(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "anything" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
