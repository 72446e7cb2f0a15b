//! Files of builds that are fetched from a URL.

use serde_json::{Value, json};

use crate::harness::{Answer, Outside, Setup};
use crate::uploads::{BUILD, as_text, assert_nothing_is_left, assert_stored, id, with_build};

#[tokio::test]
async fn a_file_is_fetched_from_a_url() {
    let file = as_text("a");
    let text = String::from_utf8(file.clone()).unwrap();
    let mut outside = Outside::new(Answer::Says(format!("HTTP/1.1 200 OK\r\n\r\n{text}"))).await;
    let host = with_build(fetching_from(&outside)).await;
    let url = format!("http://127.0.0.1:{}/builds/1.zip?a=b", outside.port());
    let accepted = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = host.ended_job(id(&accepted)).await;
    assert_stored(&host, &job, &file).await;
    assert_eq!((&job["data"]["indirect_url"], &job["data"]["sha256"]), (&json!(url), &Value::Null), "{job:#}");
    assert!(outside.asked()[0].starts_with("GET /builds/1.zip?a=b HTTP/1.1\r\n"));
}

#[tokio::test]
async fn what_cannot_be_fetched_fails_the_job_and_leaves_the_build_free() {
    for (answer, code, message) in [
        (
            Answer::redirect("http://169.254.169.254/latest"),
            "fetch-failed",
            "sends us to `http://169.254.169.254/latest`",
        ),
        (Answer::Says("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()), "fetch-failed", "answered 404"),
        (Answer::Says("HTTP/1.1 206 Partial Content\r\n\r\na".into()), "fetch-failed", "answered 206"),
        (Answer::Says("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\na".into()), "fetch-failed", "`gzip`"),
        (Answer::Says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na".into()), "fetch-failed", "ended before"),
        (
            Answer::Says("HTTP/1.1 200 OK\r\ncontent-length: 90000000\r\n\r\n".into()),
            "fetch-failed",
            "more than 1000000",
        ),
        (Answer::Floods, "fetch-failed", "more than 1000000 bytes"),
        (Answer::Drips, "timed-out", "not done within 2s"),
    ] {
        let outside = Outside::new(answer.clone()).await;
        let seconds = if code == "timed-out" { 2 } else { 60 };
        let setup = fetching_from(&outside).flag("--upload-bytes", 1_000_000).flag("--upload-seconds", seconds);
        let host = with_build(setup).await;
        let url = format!("http://127.0.0.1:{}/", outside.port());
        let query = format!("{BUILD}?file_type=zip&indirect_url={url}");
        let accepted = host.client.post_empty(&query).await;
        assert_eq!(accepted.status, 202, "{accepted}");
        let job = host.ended_job(id(&accepted)).await;
        let found = job["error"]["message"].as_str().unwrap_or_default();
        // Which of the two limits of time is noticed first is a matter of luck.
        let timed_out = code == "timed-out" && found.contains("did not end within 2s");
        assert!(timed_out || (job["error"]["code"] == code && found.contains(message)), "{answer:?}: {job:#}");
        assert_nothing_is_left(&host).await;
    }
}

#[tokio::test]
async fn nothing_is_fetched_from_addresses_that_are_not_public() {
    let mut outside = Outside::new(Answer::hello()).await;
    let host = with_build(Setup::default()).await;
    for name in ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{name}:{}/", outside.port());
        let accepted = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
        let job = host.ended_job(id(&accepted)).await;
        let message = job["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("leads to an address that is not granted"), "{name}: {job:#}");
    }
    assert_eq!(outside.asked(), Vec::<String>::new());
    for url in [
        "ftp://example.org/1.zip",
        "https://me:secret@example.org/1.zip",
        "file:///etc/passwd",
        "1.zip",
        "http:127.0.0.1",
        "http:///127.0.0.1/1.zip",
    ] {
        let reply = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
        assert_eq!(reply.fault(), (422, "/indirect_url"), "{reply}");
        assert!(!reply.to_string().contains("secret"), "{reply}");
    }
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn a_file_that_is_fetched_too_slowly_is_given_up() {
    let outside = Outside::new(Answer::Drips).await;
    let host = with_build(fetching_from(&outside).flag("--http-body-seconds", 1)).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let accepted = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("fetch-failed")), "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("less than 8192 bytes a second"), "{job:#}");
}

pub(crate) fn fetching_from(outside: &Outside) -> Setup {
    Setup::default().flag("--upload-from", format!("127.0.0.1:{}", outside.port()))
}
