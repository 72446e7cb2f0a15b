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
