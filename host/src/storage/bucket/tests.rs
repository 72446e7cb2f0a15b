use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use object_store::aws::AmazonS3Builder;
use object_store::client::ClientOptions;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt as _, RetryConfig};

use super::{Meaning, meaning};
use crate::outbound::provide_cryptography;

/// What it means that a store gives this answer to a request with 507 in its URL.
async fn meaning_of(head: &str, body: &str) -> Option<Meaning> {
    provide_cryptography();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n507") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.extend(byte);
        }
        stream.write_all(answer.as_bytes()).expect("a client that listens");
    });
    let store = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_bucket_name("elita")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .expect("a store");
    let error = store.put(&Key::from("builds/507/507"), "507".into()).await.expect_err("an answer that is an error");
    answering.join().expect("a thread that ends");
    meaning(&error)
}

fn code(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>")
}

#[tokio::test]
async fn an_answer_of_the_store_means_what_its_status_and_its_code_say() {
    for (head, body, expected) in [
        ("500 Internal Server Error", "", Some(Meaning::Away)),
        ("503 Service Unavailable", &*code("ServiceUnavailable"), Some(Meaning::Away)),
        ("503 Slow Down", &code("SlowDown"), Some(Meaning::Away)),
        ("429 Too Many Requests", "", Some(Meaning::Away)),
        ("400 Bad Request", &code("RequestTimeout"), Some(Meaning::Away)),
        ("507 Insufficient Storage", "", Some(Meaning::Full)),
        ("503 Service Unavailable", &code("XMinioStorageFull"), Some(Meaning::Full)),
        ("403 Forbidden", &code("QuotaExceeded"), Some(Meaning::Full)),
        ("403 Forbidden", &code("AccessDenied"), Some(Meaning::Refused)),
        ("401 Unauthorized", "", Some(Meaning::Refused)),
        ("404 Not Found", &code("NoSuchBucket"), Some(Meaning::NoBucket)),
        ("404 Not Found", &code("NoSuchKey"), None),
        ("400 Bad Request", &code("InvalidDigest"), None),
    ] {
        assert_eq!(meaning_of(head, body).await, expected, "{head} {body}");
    }
}
