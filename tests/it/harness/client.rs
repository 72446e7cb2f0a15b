//! A REST client whose failures show the reply.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use elita::outbound::provide_cryptography;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MATCH};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// Talks to one server with one token.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Null where there is no body, and a text where it is not JSON.
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        provide_cryptography();
        Self { base: format!("http://{address}"), token: Some(token.to_owned()), http: reqwest::Client::new() }
    }

    /// The same without a token.
    pub(crate) fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same from another address of this machine.
    pub(crate) fn from(&self, address: IpAddr) -> Self {
        let http = reqwest::Client::builder().local_address(address).build().unwrap();
        Self { http, ..self.clone() }
    }

    /// `http://` and the address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request to be completed, sent with [`Client::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends what [`Client::request`] began.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = match &*text {
            "" => Value::Null,
            _ => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
        Reply { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a JSON merge patch.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        let request = self.request(Method::PATCH, path).header(CONTENT_TYPE, "application/merge-patch+json");
        self.send(request.body(body.to_string())).await
    }

    /// Sends a JSON Patch.
    pub(crate) async fn patch_by(&self, path: &str, operations: &Value) -> Reply {
        let request = self.request(Method::PATCH, path).header(CONTENT_TYPE, "application/json-patch+json");
        self.send(request.body(operations.to_string())).await
    }

    /// Sends a merge patch that is meant for one version.
    pub(crate) async fn patch_if(&self, path: &str, etag: &str, body: &Value) -> Reply {
        self.send(self.request(Method::PATCH, path).header(IF_MATCH, etag).json(body)).await
    }

    /// Removes it, if it is that version.
    pub(crate) async fn delete_if(&self, path: &str, etag: &str) -> Reply {
        self.send(self.request(Method::DELETE, path).header(IF_MATCH, etag)).await
    }

    pub(crate) async fn post_empty(&self, path: &str) -> Reply {
        self.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn put(&self, path: &str) -> Reply {
        self.send(self.request(Method::PUT, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }
}

impl Reply {
    /// Of a list, a member of each item.
    pub(crate) fn items(&self, member: &str) -> Vec<&str> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("no list: {self}"));
        items.iter().map(|item| item[member].as_str().unwrap()).collect()
    }

    /// Of a problem, its status and where it is.
    pub(crate) fn fault(&self) -> (u16, &str) {
        let fault = &self.body["errors"][0];
        (self.status, fault["pointer"].as_str().or_else(|| fault["parameter"].as_str()).unwrap_or_default())
    }

    /// A header's value, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{:#?}\n{:#}", self.status, self.headers, self.body)
    }
}
