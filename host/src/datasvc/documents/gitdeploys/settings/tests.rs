use std::process::Command;

use super::{check_branch, check_path};

#[test]
fn a_directory_below_a_root_is_a_path() {
    for path in
        ["/srv/shop", "/x", "/srv/with space/ä", "/srv/..shop/a..b", "C:\\shop", "d:/sites/shop", "C:\\a b\\c.d"]
    {
        assert_eq!(check_path(path), Ok(()), "{path}");
    }
}

#[test]
fn what_is_relative_a_root_or_leads_elsewhere_is_no_path() {
    let long = format!("/{}", "x".repeat(1024));
    for path in [
        "",
        "srv/shop",
        "./shop",
        "~/shop",
        "/",
        "//",
        "//srv",
        "/srv//shop",
        "/srv/",
        "/..",
        "/srv/../etc",
        "/srv/..",
        "/.",
        "/srv/.",
        "/srv\\..",
        "/srv/\n",
        "C:",
        "C:\\",
        "C:/",
        "C:shop",
        "C:\\..",
        "C:\\shop\\..\\windows",
        "C:\\shop/../x",
        "C:\\.. \\x",
        "C:\\...",
        "C:\\shop.",
        "C:\\shop ",
        "C:\\a:b",
        "C:\\a?",
        "C:\\shop\\",
        "\\\\server\\share",
        "\\shop",
        "CC:\\shop",
        "ä:\\shop",
        &long,
    ] {
        assert!(check_path(path).is_err(), "{path}");
    }
}

#[test]
fn branches_are_those_that_git_takes() {
    let names = [
        "master",
        "main",
        "release/1.0",
        "a-b_c",
        "-a",
        "a-",
        "ä",
        "a.b",
        "@a",
        "a@",
        "a@b",
        "a{",
        "1",
        "refs/heads/a",
        "head",
        "",
        "@",
        "HEAD",
        "a/HEAD",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a./b",
        "a.lock",
        "a.lock/b",
        "a..b",
        "a@{b",
        "a b",
        "a~b",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a]b",
        "a\\b",
        "a\u{7f}b",
        "a\tb",
        "a\u{85}b",
        "a\"b",
        "a'b",
        "$(a)",
    ];
    for name in names {
        let git = Command::new("git").args(["check-ref-format", &format!("refs/heads/{name}")]).output().unwrap();
        // As references these are fine; on a command line git would take them for something else.
        let ambiguous = ["-a", "@", "HEAD"].contains(&name);
        assert_eq!(check_branch(name).is_ok(), git.status.success() && !ambiguous, "{name:?}");
    }
    assert!(check_branch(&"x".repeat(251)).is_err());
}
