use super::FileUrl;

#[test]
fn urls_of_web_servers_are_taken() {
    for url in ["http://example.org/a.zip", "https://example.org:8443/a?b=c&d=%20", "https://[2001:db8::1]/"] {
        assert_eq!(FileUrl::parse(url).map(|parsed| parsed.to_string()), Ok(url.to_owned()));
    }
}

#[test]
fn what_is_no_such_url_is_refused_with_the_reason() {
    for (url, reason) in [
        ("file:///etc/passwd", "not from `file`"),
        ("ftp://example.org/a.zip", "not from `ftp`"),
        ("/a.zip", "not a URL"),
        ("http://", "not a URL"),
        ("https://me@example.org/a.zip", "user or a password"),
        ("https://:secret@example.org/a.zip", "user or a password"),
        ("https://example.org\\@127.0.0.1/", "no `\\`"),
        ("https://example.org/a b", "no spaces"),
        ("https://example.org/\u{e4}", "beyond ASCII"),
        ("https://example.org/a.zip#b", "before a `#`"),
        ("http:127.0.0.1", "does not begin with http:// or https://"),
        ("http:/127.0.0.1/a.zip", "`https://host/path`"),
        ("http:///127.0.0.1/a.zip", "`https://host/path`"),
        ("https:example.org/a.zip", "`https://host/path`"),
        ("http://example.org:0/a.zip", "port"),
        (&format!("https://example.org/{}", "a".repeat(5000)), "at most 4096"),
    ] {
        let refused = FileUrl::parse(url).expect_err(url);
        assert!(refused.contains(reason), "{url}: {refused}");
    }
}
