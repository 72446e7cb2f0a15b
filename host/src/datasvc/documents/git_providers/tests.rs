use super::BaseUrl;

#[test]
fn a_base_url_is_kept_in_its_normal_form() {
    for (text, kept) in [
        ("https://git.example.com", "https://git.example.com"),
        ("http://git.example.com:3000/gitea/", "http://git.example.com:3000/gitea"),
        ("HTTPS://Git.Example.com:443/A", "https://git.example.com/A"),
        (" https://git.example.com/a b", "https://git.example.com/a%20b"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ] {
        let url = BaseUrl::try_from(text.to_owned()).unwrap();
        assert_eq!(url.as_str(), kept);
        assert_eq!(BaseUrl::try_from(kept.to_owned()), Ok(url));
    }
}

#[test]
fn what_is_no_url_of_a_service_is_refused() {
    let long = format!("https://git.example.com/{}", "x".repeat(2048));
    let long_when_escaped = format!("https://git.example.com/{}", "ä".repeat(900));
    for text in [
        "",
        "git.example.com",
        "https://",
        "file:///srv/git",
        "ssh://git.example.com",
        "https://me@git.example.com",
        "https://me:secret@git.example.com",
        "https://:secret@git.example.com",
        "https://git.example.com/?",
        "https://git.example.com/?token=secret",
        "https://git.example.com/#top",
        &long,
        &long_when_escaped,
    ] {
        assert!(BaseUrl::try_from(text.to_owned()).is_err(), "{text}");
    }
}
