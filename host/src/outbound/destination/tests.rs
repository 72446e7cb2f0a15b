use super::*;

#[derive(Debug, Deserialize)]
struct File {
    http: Vec<Destination>,
}

fn read(list: &str) -> Result<Vec<String>, String> {
    let file: File = toml::from_str(&format!("http = [{list}]")).map_err(|error| error.message().to_owned())?;
    Ok(file.http.iter().map(Destination::to_string).collect())
}

fn target(url: &str) -> Result<Target, Error> {
    Target::of(&url.parse().unwrap())
}

fn host(url: &str) -> String {
    target(url).unwrap().to_string()
}

#[test]
fn a_destination_is_a_host_with_a_port_and_perhaps_the_networks_it_is_in() {
    let list = r#""api.example.org:443", "10.0.0.5:8080", "[fd00::5]:80", "API.example.org:8443",
        { host = "ci.example.org:8080", addresses = ["10.1.0.0/16", "fd00::7"] }"#;
    assert_eq!(
        read(list).unwrap(),
        [
            "api.example.org:443",
            "10.0.0.5:8080",
            "[fd00::5]:80",
            "api.example.org:8443",
            "ci.example.org:8080 at 10.1.0.0/16, fd00::7/128",
        ]
    );
}

#[test]
fn what_is_no_destination_is_refused_with_the_reason() {
    for (wrong, reason) in [
        (r#""api.example.org""#, "`api.example.org` has no port, as in `api.example.org:443`"),
        (r#""api.example.org:0""#, "`api.example.org:0` does not end with a port from 1 to 65535"),
        (r#""api.example.org:+80""#, "`api.example.org:+80` does not end with a port from 1 to 65535"),
        (r#""*.example.org:443""#, "`*.example.org:443`: a destination is one host, without wildcards"),
        (r#""2130706433:80""#, "`2130706433` is to be written as `127.0.0.1`"),
        (r#""0x7f.1:80""#, "`0x7f.1` is to be written as `127.0.0.1`"),
        (r#""[::ffff:7f00:1]:80""#, "`[::ffff:7f00:1]` is to be written as `127.0.0.1`"),
        (r#""localhost.:80""#, "`localhost.` is to be written as `localhost`"),
        (r#""0.0.0.0:80""#, "`0.0.0.0` is not a server's address"),
        (
            r#"{ host = "10.0.0.5:80", addresses = ["10.0.0.5"] }"#,
            "`10.0.0.5:80` is an address already: write it without `addresses`",
        ),
        (
            r#"{ host = "a:80", addresses = [] }"#,
            "`a:80` has no `addresses`: write it without them, and it leads to public ones",
        ),
        (
            r#"{ host = "a:80", addresses = ["private"] }"#,
            "`private` is neither an address nor a network such as `10.1.0.0/16`",
        ),
    ] {
        assert_eq!(read(wrong).unwrap_err().trim(), reason);
    }
    for wrong in ["1", r#"{ host = "a:80" }"#, r#"{ host = "a:80", addresses = [], private = true }"#] {
        assert!(read(wrong).unwrap_err().starts_with("a destination is written \"host:port\" or {"), "{wrong}");
    }
    let not_a_host = read(r#""exa mple.org:80""#).unwrap_err();
    assert!(not_a_host.starts_with("`exa mple.org` is not a host"), "{not_a_host}");
}

#[test]
fn a_host_is_compared_in_one_spelling() {
    for loopback in [
        "http://127.0.0.1",
        "http://127.0.0.1.",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://017700000001",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://[0:0:0:0:0:ffff:127.0.0.1]",
        "http://127.0.0.1:80",
    ] {
        assert_eq!(host(loopback), "127.0.0.1:80", "{loopback}");
    }
    assert_eq!(host("https://API.Example.ORG./path"), "api.example.org:443");
    assert_eq!(host("http://[0:0:0:0:0:0:0:1]:81"), "[::1]:81");
}

#[test]
fn what_is_no_url_of_a_server_is_refused() {
    for (wrong, reason) in [
        ("ftp://example.org", "it does not begin with http:// or https://"),
        ("/path", "it does not begin with http:// or https://"),
        ("http://user@example.org", "it has a user or a password before the host"),
        ("http://user:secret@example.org", "it has a user or a password before the host"),
        ("http://example.org:99999", "its port is not a number from 1 to 65535"),
        ("http://example.org:0", "its port is not a number from 1 to 65535"),
        ("http://1.2.3.4.5", "its host is neither a name nor an address"),
        ("http://.", "its host is neither a name nor an address"),
    ] {
        match target(wrong) {
            Err(Error::BadUrl(given)) => assert_eq!(given, reason, "{wrong}"),
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[test]
fn a_default_port_is_not_in_the_host_header() {
    let header = |url| target(url).unwrap().host_header();
    assert_eq!(header("http://example.org"), "example.org");
    assert_eq!(header("https://example.org:443"), "example.org");
    assert_eq!(header("https://example.org:80"), "example.org:80");
    assert_eq!(header("http://[::1]"), "[::1]");
}
