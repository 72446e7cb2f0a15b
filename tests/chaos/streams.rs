//! A client that follows a job by server-sent events, from one server to the next, and misses nothing.

use std::time::Duration;

use reqwest::header::ACCEPT;
use serde_json::Value;
use sqlx::types::Uuid;
use tokio::time::timeout;

use super::clients::described;
use super::fleet::Doors;
use super::journal::{Journal, Stream};
use super::random::Random;

/// How long a stream may be silent before the client goes elsewhere: a server that stands still looks like that.
const SILENCE: Duration = Duration::from_secs(4);

/// One event, in the fields that are used.
#[derive(Default)]
struct Event {
    name: String,
    id: String,
    data: String,
}

/// The stream of a job; in the journal when this is dropped, wherever the client was.
struct Following<'a> {
    journal: &'a Journal,
    stream: Option<Stream>,
}

/// Follows a job to its end.
pub(crate) async fn follow(doors: &Doors, journal: &Journal, random: &mut Random, http: &reqwest::Client, job: Uuid) {
    let stream = Stream { job, entries: Vec::new(), end: None, faults: Vec::new() };
    let mut following = Following { journal, stream: Some(stream) };
    while let Some(stream) = following.stream.as_mut().filter(|stream| stream.end.is_none()) {
        let url = format!("{}/job/{job}/data", doors.any(random));
        let mut request = http.get(url).bearer_auth(&doors.token).header(ACCEPT, "text/event-stream");
        if let Some((last, _)) = stream.entries.last() {
            request = request.header("Last-Event-ID", last.to_string());
        }
        if let Err(problem) = read(request, stream).await {
            journal.refused(format!("stream: {problem}"));
        }
        tokio::time::sleep(random.millis(50..300)).await;
    }
}

/// Reads until the end of the job or of the connection.
async fn read(request: reqwest::RequestBuilder, stream: &mut Stream) -> Result<(), String> {
    let response = timeout(SILENCE, request.send()).await.map_err(|_| "no reply in time")?;
    let mut response = response.map_err(|problem| described(&problem))?;
    if response.status() != 200 {
        return Err(response.status().to_string());
    }
    let mut unread = Vec::new();
    let mut event = Event::default();
    while let Some(chunk) =
        timeout(SILENCE, response.chunk()).await.map_err(|_| "silence")?.map_err(|problem| described(&problem))?
    {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            match line.split_once(':') {
                Some(("event", value)) => event.name = value.trim_start().to_owned(),
                Some(("id", value)) => event.id = value.trim_start().to_owned(),
                Some(("data", value)) => event.data.push_str(value),
                Some(_) => {}
                None => take(std::mem::take(&mut event), stream),
            }
        }
    }
    Ok(())
}

fn take(event: Event, stream: &mut Stream) {
    let Event { name, id, data } = event;
    if data.is_empty() {
        return;
    }
    let Ok(mut data) = serde_json::from_str::<Value>(&data) else {
        return stream.faults.push(format!("an event is not JSON: {data}"));
    };
    if name == "end" {
        stream.end = Some(data["status"].as_str().unwrap_or("without a status").to_owned());
        return;
    }
    let expected = stream.entries.last().map_or(1, |(last, _)| last + 1);
    let seq = data["seq"].as_i64().unwrap_or(0);
    if seq != expected || id != seq.to_string() {
        stream.faults.push(format!("entry {seq} came as event `{id}` where {expected} was expected"));
    }
    stream.entries.push((seq, data["data"].take()));
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            if let Some(end) = &stream.end {
                self.journal.note().ends.push((stream.job, end.clone()));
            }
            self.journal.note().streams.push(stream);
        }
    }
}
