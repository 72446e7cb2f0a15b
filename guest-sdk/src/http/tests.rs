use super::*;

fn parts(url: &str) -> (String, String) {
    let Url { scheme, authority, path } = Url::parse(url).unwrap();
    (format!("{scheme:?} {authority}"), path)
}

#[test]
fn a_url_is_taken_apart() {
    for (url, server, path) in [
        ("https://example.org", "Scheme::Https example.org", "/"),
        ("HTTP://example.org:8080/a/b?c=d#e", "Scheme::Http example.org:8080", "/a/b?c=d"),
        ("http://[::1]:80?a=/b", "Scheme::Http [::1]:80", "/?a=/b"),
    ] {
        assert_eq!(parts(url), (server.into(), path.into()), "{url}");
    }
    for url in ["example.org", "ftp://example.org", "//example.org", ""] {
        assert_eq!(Url::parse(url).unwrap_err().code(), Some(Code::Invalid), "{url}");
    }
}

#[test]
fn a_response_is_looked_at() {
    let headers = vec![("content-type".into(), b"application/json".to_vec())];
    let response = Response { status: 404, headers, body: br#"{"missing":true}"#.to_vec() };
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    assert_eq!(response.header("location"), None);
    assert_eq!(response.json::<serde_json::Value>().unwrap()["missing"], true);
    let error = response.ok().unwrap_err().to_string();
    assert_eq!(error, r#"the server answered with status 404: {"missing":true}"#);
}

#[test]
fn a_refusal_says_who_can_do_something() {
    let error = failure("example.org:443", &ErrorCode::HttpRequestDenied);
    assert_eq!(error.code(), Some(Code::Denied));
    assert!(error.to_string().starts_with("example.org:443 is not granted to this plugin; the operator grants"));
}
