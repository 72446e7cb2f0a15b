use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use futures_util::stream;

use super::{Form, MAX_AROUND};
use crate::datasvc::{Caller, JobId, PluginName};
use crate::rest::http::pace::Paced;
use crate::rest::http::problem::Problem;
use crate::rest::http::session::Session;

const HEAD: &str = "--x\r\nContent-Disposition: form-data; name=\"build\"\r\n\r\n";

/// A form whose pieces are all there at once.
async fn form(pieces: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>) -> Result<Form, Problem> {
    let caller = Caller::Plugin {
        name: PluginName::parse("a").expect("a name"),
        job: JobId::new(),
        applications: Arc::default(),
        grants: Arc::default(),
    };
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    let body = Paced::new(body, Session::lasting(caller), Duration::from_secs(10));
    let content_type = HeaderValue::from_static("multipart/form-data; boundary=x");
    Form::open(&HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]), body).await
}

fn status(problem: Problem) -> u64 {
    let document = serde_json::to_value(problem.into_document("id".into())).expect("a document is JSON");
    document["status"].as_u64().expect("a status")
}

#[tokio::test]
async fn a_file_is_passed_on_piece_by_piece_however_fast_it_comes() {
    let piece = Bytes::from(vec![7; 100_000]);
    let file = std::iter::repeat_n(piece, 3 * MAX_AROUND / 100_000);
    let ends = ([Bytes::from(HEAD)], [Bytes::from("\r\n--x--\r\n")]);
    let mut form = form(ends.0.into_iter().chain(file).chain(ends.1)).await.expect("a form");
    assert!(form.has_file());
    let mut length = 0;
    while let Some(bytes) = form.next().await.expect("a file") {
        assert!(bytes.len() <= 200_000, "{} bytes at once", bytes.len());
        length += bytes.len();
    }
    assert_eq!(length, 3 * MAX_AROUND / 100_000 * 100_000);
}

#[tokio::test]
async fn what_stands_around_the_file_is_bounded() {
    let much = || std::iter::repeat_n(Bytes::from(vec![b'a'; 100_000]), 1_000_000);
    for head in ["", "--x\r\nContent-Disposition: ", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"] {
        let refused = form([Bytes::from(head)].into_iter().chain(much())).await;
        assert_eq!(refused.err().map(status), Some(413), "{head}");
    }
    let after = "\r\n--x\r\nContent-Disposition: ";
    let mut form = form([Bytes::from(HEAD), after.into()].into_iter().chain(much())).await.expect("a form");
    let problem = loop {
        match form.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("there is no end"),
            Err(problem) => break problem,
        }
    };
    assert_eq!(status(problem), 413);
}
