//! What the SDK has no words for, with `wasi:http` itself.

use elita_plugin::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingResponse, Method, OutgoingRequest, Scheme, http_error_code};
use wasip2::io::streams::StreamError;

/// Sends so many requests before it looks at an answer, and returns how each went.
pub(crate) fn at_once(call: &ActionCall) -> Result<Vec<String>> {
    let (url, count): (String, usize) = (call.parameter("url")?, call.parameter("count")?);
    let sent: Vec<_> = (0..count).map(|_| outgoing_handler::handle(request(&url)?, None)).collect();
    // They hold their places until all have been answered.
    let answers: Vec<_> = sent.into_iter().map(|sent| answer(sent?)).collect();
    Ok(answers.iter().map(|answer| outcome(answer.as_ref().map(IncomingResponse::status))).collect())
}

/// Sends a request and drops it, and returns how another one went.
pub(crate) fn abandon(call: &ActionCall) -> Result<String> {
    let (url, then): (String, String) = (call.parameter("url")?, call.parameter("then")?);
    drop(outgoing_handler::handle(request(&url)?, None)?);
    let answer = outgoing_handler::handle(request(&then)?, None).and_then(answer);
    Ok(outcome(answer.as_ref().map(IncomingResponse::status)))
}

/// Returns how long the method, the authority and the path of a request may be.
pub(crate) fn lengths(_: &ActionCall) -> Result<Value> {
    let request = OutgoingRequest::new(Fields::new());
    let method = longest(|text| request.set_method(&Method::Other(text)));
    let authority = longest(|text| request.set_authority(Some(&text)));
    let path = longest(|text| request.set_path_with_query(Some(&format!("/{}", &text[1..]))));
    let scheme = longest(|text| request.set_scheme(Some(&Scheme::Other(text))));
    Ok(json!({ "method": method, "authority": authority, "path": path, "scheme": scheme }))
}

/// The number of bytes, at most 1 MiB - 1, with which it can still be set.
fn longest(set: impl Fn(String) -> Result<(), ()>) -> usize {
    (0..20).rev().fold(0, |length, bit| {
        let longer = length | 1 << bit;
        if set("a".repeat(longer)).is_ok() { longer } else { length }
    })
}

/// Makes larger and larger headers.
pub(crate) fn headers(_: &ActionCall) -> Result<()> {
    let fields = Fields::new();
    loop {
        fields.append("x-widget", &[b'x'; 1000])?;
    }
}

/// Reads a response to its end, and returns how many bytes there were and the error code of the end.
pub(crate) fn bodies(call: &ActionCall) -> Result<Value> {
    let url: String = call.parameter("url")?;
    let response = request(&url).and_then(|request| outgoing_handler::handle(request, None)).and_then(answer);
    let response = match response {
        Ok(response) => response,
        Err(code) => return Ok(json!(outcome(Err::<u16, _>(&code)))),
    };
    let body = response.consume().map_err(|()| "the body was consumed already")?;
    let stream = body.stream().map_err(|()| "the body's stream was taken already")?;
    let mut bytes = 0;
    let end = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes += chunk.len(),
            Err(StreamError::Closed) => break "closed".to_owned(),
            Err(StreamError::LastOperationFailed(error)) => break format!("{:?}", http_error_code(&error)),
        }
    };
    Ok(json!({ "bytes": bytes, "end": end }))
}

/// Of no path, which means the root.
fn request(url: &str) -> Result<OutgoingRequest, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let authority = url.strip_prefix("http://").ok_or(ErrorCode::HttpRequestUriInvalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    Ok(request)
}

fn answer(response: wasip2::http::types::FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    response.subscribe().block();
    match response.get() {
        Some(Ok(answer)) => answer,
        Some(Err(())) | None => Err(ErrorCode::InternalError(None)),
    }
}

fn outcome(answer: Result<u16, &ErrorCode>) -> String {
    match answer {
        Ok(status) => status.to_string(),
        Err(code) => format!("{code:?}"),
    }
}
