//! Actions that send requests to wherever they are told to, and return what came of it.

use std::time::Duration;

use elita_plugin::prelude::*;

mod raw;

elita_plugin::plugin! {
    actions: {
        "outside": [
            action("Fetch", fetch).parameter("url", "URL", "where to, and as often as there are more of them"),
            action("Follow", follow).parameter("url", "URL", "where to begin"),
            action("Hold", hold).parameter("url", "URL", "where to wait for an answer"),
            action("Repeat", repeat).parameter("url", "URL", "where to, again and again"),
            action("AtOnce", raw::at_once)
                .parameter("url", "URL", "where to")
                .parameter("count", "integer", "how many"),
            action("Abandon", raw::abandon)
                .parameter("url", "URL", "where to, first without waiting for the answer")
                .parameter("then", "URL", "where to then"),
            action("Lengths", raw::lengths),
            action("Headers", raw::headers),
            action("Bodies", raw::bodies).parameter("url", "URL", "where the body is read with wasi:http itself"),
        ],
    },
}

/// What became of each URL, in order: the status, the number of bytes and the body's beginning; or why there is none.
fn fetch(call: &ActionCall) -> Result<Vec<Value>> {
    let urls: Vec<String> = call.parameter("url")?;
    Ok(urls.iter().map(|url| outcome(request(call, url).and_then(http::Request::send))).collect())
}

/// What became of a URL and of those that it redirects to.
fn follow(call: &ActionCall) -> Result<Vec<Value>> {
    let mut url: String = call.parameter("url")?;
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        let answer = request(call, &url)?.send();
        let location = answer.as_ref().ok().and_then(|response| response.header("location")).map(str::to_owned);
        outcomes.push(outcome(answer));
        match location {
            Some(location) => url = location,
            None => break,
        }
    }
    Ok(outcomes)
}

/// The same as `Fetch` for one URL; the job says when it begins.
fn hold(call: &ActionCall) -> Result<Value> {
    jobs::append("asking")?;
    Ok(outcome(request(call, &call.parameter::<String>("url")?)?.send()))
}

/// Goes on until it is asked to stop.
fn repeat(call: &ActionCall) -> Result<()> {
    let url: String = call.parameter("url")?;
    while !jobs::cancel_requested() {
        http::get(&url).send()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn request(call: &ActionCall, url: &str) -> Result<http::Request> {
    let method: Option<String> = call.parameter("method")?;
    let mut request = http::request(method.as_deref().unwrap_or("GET"), url);
    if let Some(kib) = call.parameter::<Option<usize>>("body_kib")? {
        request = request.body(vec![b'x'; kib * 1024]);
    }
    if let Some(header) = call.parameter::<Option<String>>("header")? {
        request = request.header(&header, "x");
    }
    if let Some(millis) = call.parameter("timeout_ms")? {
        request = request.timeout(Duration::from_millis(millis));
    }
    Ok(request)
}

fn outcome(answer: Result<http::Response>) -> Value {
    match answer {
        Ok(response) => {
            let text: String = response.text().chars().take(200).collect();
            json!({ "status": response.status(), "bytes": response.body().len(), "text": text })
        }
        Err(error) => json!({ "error": error.code().map(elita_plugin::Code::as_str), "message": error.to_string() }),
    }
}
