use serde_json::json;

use super::*;

fn waiting() -> (Arc<Waiting>, Returns) {
    let waiting = Arc::new(Waiting::default());
    let returns = waiting.wait_for("20260101000000000001", ["m1".to_owned(), "m2".to_owned()].into());
    (waiting, returns)
}

fn event(jid: &str, minion: &str, data: &Value) -> String {
    let tag = format!("salt/job/{jid}/ret/{minion}");
    format!("tag: {tag}\ndata: {}\n\n", json!({ "tag": tag, "data": data }))
}

fn told(returns: &mut Returns) -> Vec<(String, Value)> {
    std::iter::from_fn(|| returns.told.try_recv().ok()).map(|(minion, said)| (minion, said.r#return)).collect()
}

#[test]
fn events_are_found_however_the_stream_is_cut_into_pieces() {
    let job = "20260101000000000001";
    let stream = format!(
        "retry: 400\n{}{}{}",
        event("20260101000000000009", "m1", &json!({ "return": "of another job" })),
        event(job, "m1", &json!({ "return": "é\n", "jid": job, "id": "m1", "retcode": 0 })),
        event(job, "m2", &json!({ "return": [1] })).replace("tag: ", "tag:").replace('\n', "\r\n"),
    );
    for size in [1, 2, 3, 7, 64, stream.len()] {
        let (waiting, mut returns) = waiting();
        let mut reader = Reader::default();
        for piece in stream.as_bytes().chunks(size) {
            reader.take(piece, &waiting);
        }
        assert_eq!(told(&mut returns), [("m1".into(), json!("é\n")), ("m2".into(), json!([1]))], "{size}");
    }
}

#[test]
fn only_the_first_return_of_a_minion_that_was_asked_counts() {
    let (waiting, mut returns) = waiting();
    let mut reader = Reader::default();
    let job = "20260101000000000001";
    for (minion, data) in [
        ("m3", json!({ "return": "not asked" })),
        ("m1", json!({ "return": "of another", "id": "m2" })),
        ("m1", json!({ "return": "of another job", "jid": "20260101000000000009" })),
        ("m1", json!({ "return": "first" })),
        ("m1", json!({ "return": "second" })),
    ] {
        reader.take(event(job, minion, &data).as_bytes(), &waiting);
    }
    assert_eq!(told(&mut returns), [("m1".into(), json!("first"))]);
}

#[test]
fn what_is_too_long_is_skipped_and_what_comes_behind_it_is_read() {
    let (waiting, mut returns) = waiting();
    let mut reader = Reader::default();
    reader.take(b"tag: salt/job/20260101000000000001/ret/m1\ndata: {\"tag\": \"", &waiting);
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..2 * MAX_EVENT_BYTES / piece.len() {
        reader.take(&piece, &waiting);
        assert!(reader.line.capacity() <= 2 * MAX_EVENT_BYTES);
    }
    reader.take(b"\"}\n\n", &waiting);
    // One that nobody waits for is not kept at all.
    reader.take(b"tag: salt/job/20260101000000000002/ret/m1\ndata: {", &waiting);
    reader.take(&piece, &waiting);
    assert!(reader.line.is_empty());
    reader.take(b"}\n\n", &waiting);
    reader.take(event("20260101000000000001", "m1", &json!({ "return": 1 })).as_bytes(), &waiting);
    assert_eq!(told(&mut returns), [("m1".into(), json!(1))]);
}
