use super::*;

fn permissions(text: &str) -> Permissions {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_star_is_any_run_and_a_question_mark_one_character() {
    for (pattern, name, expected) in [
        ("*", "", true),
        ("*", "shop", true),
        ("shop*", "shop-api", true),
        ("*api", "shop-api", true),
        ("s*p*i", "shop-api", true),
        ("sho?", "shop", true),
        ("sho?", "sho", false),
        ("shop", "shop-api", false),
        ("", "shop", false),
        ("**", "shop", true),
        ("*a*b", "aXbYb", true),
        ("*a*b", "aXbY", false),
    ] {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} on {name}");
    }
}

#[test]
fn the_pattern_with_the_most_literal_characters_decides() {
    let given = permissions(r#"{"apps": {"*": "read/write", "shop*": "read", "shop-secret": ""}}"#);
    assert!(given.on_application("write", "blog"));
    assert!(given.on_application("read", "shop-api"));
    assert!(!given.on_application("write", "shop-api"));
    assert!(!given.on_application("read", "shop-secret"));
}

#[test]
fn to_upload_is_a_part_of_to_write() {
    let given = permissions(r#"{"apps": {"shop": "write", "blog": "upload", "wiki": "read"}}"#);
    for (application, upload, write) in [("shop", true, true), ("blog", true, false), ("wiki", false, false)] {
        assert_eq!(given.on_application("upload", application), upload, "{application}");
        assert_eq!(given.on_application("write", application), write, "{application}");
    }
    assert!(!given.on_application("read", "blog"));
    for (other, covers) in [
        (r#"{"apps": {"shop": "upload"}}"#, true),
        (r#"{"apps": {"blog": "upload"}}"#, true),
        (r#"{"apps": {"blog": "write"}}"#, false),
        (r#"{"apps": {"wiki": "upload"}}"#, false),
    ] {
        assert_eq!(given.cover(&permissions(other), &Aside::IN_A_TEST).unwrap(), covers, "{other}");
    }
    let narrowed = given.narrowed_by(Some(permissions(r#"{"apps": {"shop": "upload"}}"#)));
    assert!(narrowed.on_application("upload", "shop") && !narrowed.on_application("write", "shop"));
}

#[test]
fn between_equals_only_what_all_of_them_grant_holds() {
    let given = permissions(r#"{"apps": {"sho*": "read/write", "*hop": "read"}}"#);
    assert!(given.on_application("read", "shop"));
    assert!(!given.on_application("write", "shop"));
}

#[test]
fn a_star_does_not_include_global() {
    assert!(!permissions(r#"{"apps": {"*": "read/write", "_globa?": "read"}}"#).on_global("read"));
    assert!(Permissions::administrator().on_global("write"));
}

#[test]
fn for_actions_the_application_decides_first() {
    let given = permissions(r#"{"actions": {"*": {"*": "execute"}, "shop": {"Delete*": ""}}}"#);
    assert!(given.on_action("blog", "DeleteWidgets"));
    assert!(!given.on_action("shop", "DeleteWidgets"));
    assert!(!given.on_action("shop", "Anything"));
}

/// Compares with what a look at many names says.
#[test]
fn permissions_cover_what_they_grant_for_every_name() {
    let patterns = ["*", "a*", "*b", "ab", "a?", "?", "aab", "*a*"];
    let words = ["", "read", "read/write"];
    let names: Vec<String> =
        ["", "a", "b", "c", "ab", "aa", "ba", "aab", "abb", "cab", "bca", "acb"].map(Into::into).into();
    let mut random = 7_u64;
    let mut next = |count: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % count
    };
    let mut covered = 0;
    for _ in 0..3000 {
        let mut some = || Permissions {
            apps: (0..next(4)).map(|_| (patterns[next(8)].to_owned(), words[next(3)].to_owned())).collect(),
            ..Permissions::default()
        };
        let (mine, theirs) = (some(), some());
        let seen = names.iter().all(|name| {
            ["read", "write"].iter().all(|word| mine.on_application(word, name) || !theirs.on_application(word, name))
        });
        // These names are of all kinds that these patterns can tell apart, but for a few.
        if mine.cover(&theirs, &Aside::IN_A_TEST).unwrap() {
            covered += 1;
            assert!(seen, "{mine:?} do not cover {theirs:?}");
        } else if seen {
            let longer = ["aaab", "bb", "bab", "cb", "ca", "ac", "aaa", "bbb", "caa", "bac"];
            let really = longer.iter().all(|name| {
                ["read", "write"]
                    .iter()
                    .all(|word| mine.on_application(word, name) || !theirs.on_application(word, name))
            });
            assert!(!really, "{mine:?} cover {theirs:?}");
        }
    }
    assert!(covered > 100, "{covered}");
}

/// The pattern of `stars` and what makes a walk over all kinds of names take for ever.
#[test]
fn patterns_that_overlap_without_end_are_refused_soon() {
    let long: Vec<String> = (3..23).map(|length| format!("*a{}", "?".repeat(length))).collect();
    let stars: Vec<String> = (0..236).map(|number| format!("{}{number}*", "*".repeat(120))).collect();
    // All that `web*` does is there, which only a look at every name tells.
    let all = [String::from("w*")];
    let servers: Vec<&String> = long.iter().chain(&stars).chain(&all).collect();
    let narrow = permissions(&serde_json::json!({ "servers": servers }).to_string());
    let other = permissions(r#"{"servers": ["web*"]}"#);
    let began = std::time::Instant::now();
    assert!(matches!(narrow.cover(&other, &Aside::IN_A_TEST), Err(Error::Invalid { .. })));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    // What holds everything, the same, or nothing needs no look at them.
    assert!(Permissions::administrator().cover(&narrow, &Aside::IN_A_TEST).unwrap());
    assert!(narrow.cover(&narrow, &Aside::IN_A_TEST).unwrap());
    assert!(narrow.cover(&Permissions::default(), &Aside::IN_A_TEST).unwrap());
}

#[test]
fn runs_of_wildcards_are_one_pattern_however_they_are_written() {
    for (mine, theirs, expected) in [
        (r#"{"servers": ["a??*"]}"#, r#"{"servers": ["a*?**?"]}"#, true),
        (r#"{"servers": ["a*??"]}"#, r#"{"servers": ["a?*"]}"#, false),
        (r#"{"apps": {"*?": "read"}}"#, r#"{"apps": {"?*": "read"}}"#, true),
    ] {
        assert_eq!(
            permissions(mine).cover(&permissions(theirs), &Aside::IN_A_TEST).unwrap(),
            expected,
            "{mine} and {theirs}"
        );
    }
}
