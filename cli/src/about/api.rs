//! `elita api`: a request of one's own, logged in.

use clap::Args;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Map, Value};

use crate::everyday::run::{parameter, text_of};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::{Request, with_query};
use crate::session::Session;

/// Send a request to the API, logged in
///
/// For whatever has no command. Parameters go into the query string of GET, HEAD and DELETE, and otherwise into a JSON
/// body, where a value that is JSON is that JSON.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  elita api GET /openapi.json
  elita api GET /job status=failed --paginate
  elita api POST /app app_name=shop")]
pub(crate) struct Api {
    /// GET, POST, PUT, PATCH, DELETE or HEAD
    #[arg(value_name = "METHOD", value_parser = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"], ignore_case = true)]
    method: String,
    /// The path, such as /app
    #[arg(value_name = "PATH")]
    path: String,
    /// Parameters; `NAME=@FILE` is a file's text
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// The whole body from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "parameters")]
    body: Option<String>,
    /// A header, such as 'If-Match: "17"'
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// All pages of a list, as one array
    #[arg(long)]
    paginate: bool,
}

impl Api {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        if !self.path.starts_with('/') {
            return Err(Failure::usage(format!("`{}` is not a path: it begins with /", self.path))
                .hint(format!("/{}", self.path)));
        }
        let method: Method =
            self.method.to_uppercase().parse().map_err(|_| Failure::usage("there is no such method"))?;
        let pairs = self.parameters.iter().map(|word| parameter(word)).collect::<Result<Vec<_>>>()?;
        if self.paginate {
            let query: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let found = session.client.list(&self.path, &query, None).await?;
            session.output.document(&Value::Array(found.items));
            return Ok(Code::Done);
        }
        let request = self.request(method, pairs)?;
        let reply = session.client.send(request).await?;
        match reply.json() {
            Ok(Value::Null) => {}
            Ok(document) => session.output.document(&document),
            Err(_) => session.output.raw(&reply.body),
        }
        Ok(Code::Done)
    }

    fn request(&self, method: Method, pairs: Vec<(String, String)>) -> Result<Request> {
        let in_query = matches!(method, Method::GET | Method::HEAD | Method::DELETE);
        let mut request = if in_query {
            let query: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            Request::new(method, with_query(&self.path, &query))
        } else {
            Request::new(method, &*self.path)
        };
        let has_type = self.headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type:"));
        if let Some(file) = &self.body {
            request.body = text_of(file)?.into();
            if !has_type {
                request = request.header(CONTENT_TYPE, "application/json");
            }
        } else if !in_query && !self.parameters.is_empty() {
            let members: Map<String, Value> = self
                .parameters
                .iter()
                .map(|word| parameter(word))
                .map(|pair| {
                    pair.map(|(name, value)| (name, serde_json::from_str(&value).unwrap_or(Value::String(value))))
                })
                .collect::<Result<_>>()?;
            request = request.json(&Value::Object(members));
        }
        for header in &self.headers {
            let malformed = || Failure::usage(format!("`{header}` is not a header")).hint("-H 'Name: value'");
            let (name, value) = header.split_once(':').ok_or_else(malformed)?;
            let name: HeaderName = name.trim().parse().map_err(|_| malformed())?;
            request = request.header(name, value.trim());
        }
        Ok(request)
    }
}
