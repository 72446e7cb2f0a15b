use super::indented;

#[track_caller]
fn assert_indented(json: &str, expected: &str) {
    let text = String::from_utf8(indented(json.as_bytes())).expect("text stays text");
    assert_eq!(text, format!("{expected}\n"));
}

#[test]
fn members_and_items_get_lines_of_their_own() {
    assert_indented(
        r#"{"b":[1,2.50],"a":{"c":null}}"#,
        "{\n  \"b\": [\n    1,\n    2.50\n  ],\n  \"a\": {\n    \"c\": null\n  }\n}",
    );
}

#[test]
fn what_is_empty_stays_on_its_line() {
    assert_indented(r#"{"a":[],"b":{ }}"#, "{\n  \"a\": [],\n  \"b\": {}\n}");
}

#[test]
fn strings_are_left_alone() {
    assert_indented(r#"["a,b: {\"c\\"]"#, "[\n  \"a,b: {\\\"c\\\\\"\n]");
}

#[test]
fn deep_nesting_does_not_make_a_small_reply_huge() {
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(indented(nested.as_bytes()).len() < 100 * nested.len());
}
