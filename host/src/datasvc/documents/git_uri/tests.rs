use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::GitUri;
use crate::datasvc::Digest;

#[test]
fn what_git_can_clone_from_is_taken_as_it_is() {
    for uri in [
        "https://git.example.com/shop/site.git",
        "http://localhost:3000/shop/site",
        "ssh://git@git.example.com:2222/shop/site.git",
        "ssh://git@[::1]/~/site.git",
        "git://git.example.com/site.git",
        "file:///srv/git/site.git",
        "git@git.example.com:shop/site.git",
        "git@git:~site/site.git",
        "git@[fe80::1]:/srv/site.git",
        "deploy_1@10.0.0.1:/srv/with space/site.git",
        "/srv/git/site.git",
        "/srv/git/größe.git",
    ] {
        assert_eq!(GitUri::parse(uri).as_ref().map(GitUri::as_str), Ok(uri));
    }
}

#[test]
fn the_server_is_known_however_it_is_written() {
    for (uri, server) in [
        ("https://Git.example.com/site.git", Some(("git.example.com", 443))),
        ("http://localhost:3000/shop/site", Some(("localhost", 3000))),
        ("ssh://git@git.example.com/site.git", Some(("git.example.com", 22))),
        ("ssh://git@[::1]:2222/site.git", Some(("[::1]", 2222))),
        ("git://git.example.com/site.git", Some(("git.example.com", 9418))),
        ("git@Git.example.com:shop/site.git", Some(("git.example.com", 22))),
        ("git@[fe80::1]:/srv/site.git", Some(("[fe80::1]", 22))),
        ("file:///srv/git/site.git", None),
        ("/srv/git/a@b:c.git", None),
    ] {
        let found = GitUri::parse(uri).unwrap().server();
        assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), server, "{uri}");
    }
}

#[test]
fn what_holds_a_secret_is_refused() {
    for uri in [
        "https://me:secret@git.example.com/site.git",
        "https://ghp_token@github.com/shop/site.git",
        "https://:secret@git.example.com/site.git",
        "ssh://git:secret@git.example.com/site.git",
        "git:secret@git.example.com:site.git",
        "https://git.example.com/site.git?token=secret",
        "https://git.example.com/site.git#secret",
    ] {
        assert!(GitUri::parse(uri).is_err(), "{uri}");
    }
}

#[test]
fn what_git_would_take_for_something_else_is_refused() {
    let long = format!("https://git.example.com/{}", "x".repeat(2048));
    for uri in [
        "",
        "/",
        "//",
        "site.git",
        "../site.git",
        "-uhelper",
        "--upload-pack=touch",
        "ext::sh -c touch% x",
        "ext::ssh://git@host/site.git",
        "a@ext::sh",
        "ftp://git.example.com/site.git",
        "HTTPS//git.example.com",
        "https://",
        "https://git.example.com",
        "https://git.example.com/",
        "https:///site.git",
        "https:///git.example.com/site.git",
        "https://git.example.com\\@evil.example.com/site.git",
        "https://git.example.com/a b",
        "https://git.example.com/site.git\n",
        "/srv/git/\u{7}",
        "ssh://-oProxyCommand=x/site.git",
        "ssh://-x@git.example.com/site.git",
        "ssh://%2DoProxyCommand=x/site.git",
        "ssh://%2Dx@git.example.com/site.git",
        "file://host/srv/site.git",
        "-x@git.example.com:site.git",
        "git@-oProxyCommand=x:site.git",
        "git@git.example.com:",
        "git@git.example.com:/",
        "git@git.example.com:-x",
        "git@git.example.com",
        "git.example.com:site.git",
        "C:\\git\\site.git",
        "git@[nothing]:site.git",
        &long,
    ] {
        assert!(GitUri::parse(uri).is_err(), "{uri}");
    }
}

#[test]
fn the_keys_of_the_large_providers_are_those_that_they_publish() {
    // What their documentation names as the fingerprints of their keys of the type ed25519.
    for (uri, fingerprint) in [
        ("git@github.com:acme/site.git", "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"),
        ("ssh://git@GitLab.com/acme/site.git", "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8"),
        ("git@bitbucket.org:acme/site.git", "ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM"),
    ] {
        let key = GitUri::parse(uri).unwrap().known_host_key().unwrap();
        let key = STANDARD.decode(key.strip_prefix("ssh-ed25519 ").unwrap()).unwrap();
        assert_eq!(STANDARD_NO_PAD.encode(Digest::of(&key).as_bytes()), fingerprint, "{uri}");
    }
    // Elsewhere, and by another protocol, it is not they who answer.
    for uri in ["ssh://git@github.com:2222/a/b.git", "git@github.com.example.com:a/b.git", "https://github.com/a/b.git"]
    {
        assert_eq!(GitUri::parse(uri).unwrap().known_host_key(), None, "{uri}");
    }
}
