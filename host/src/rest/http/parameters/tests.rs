use axum::http::{HeaderMap, HeaderValue, header};

use super::super::problem::Problem;
use super::collected;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn parameters(query: &str, content_type: &'static str, body: &str) -> Result<Vec<(String, String)>, Problem> {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    collected(query, &headers, body.as_bytes())
}

#[track_caller]
fn assert_parameters(query: &str, content_type: &'static str, body: &str, expected: &[(&str, &str)]) {
    let found = parameters(query, content_type, body).expect("the parameters are right");
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn assert_refused(query: &str, content_type: &'static str, body: &str, status: u64) {
    let problem = parameters(query, content_type, body).expect_err("the parameters are wrong");
    let document = serde_json::to_value(problem.into_document("id".into())).expect("a document is JSON");
    assert_eq!(document["status"], status, "{document}");
}

#[test]
fn the_query_comes_first_and_repeats_are_kept() {
    let expected = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")];
    assert_parameters("b=1&a=2&b=3", FORM, "b=4", &expected);
    assert_parameters("b=1&a=2&b=3", JSON, r#"{"b": "4"}"#, &expected);
}

#[test]
fn repeated_members_of_an_object_are_kept_in_order() {
    assert_parameters("", JSON, r#"{"z": "1", "a": "2", "z": "3"}"#, &[("z", "1"), ("a", "2"), ("z", "3")]);
}

#[test]
fn what_is_no_string_is_passed_as_it_was_written() {
    let body = r#"{"n": 1.50, "big": 123456789012345678901, "o": {"b": 1,  "a": [ ]}, "t": true, "none": null}"#;
    let expected = [
        ("n", "1.50"),
        ("big", "123456789012345678901"),
        ("o", r#"{"b": 1,  "a": [ ]}"#),
        ("t", "true"),
        ("none", "null"),
    ];
    assert_parameters("", JSON, body, &expected);
}

#[test]
fn strings_are_decoded() {
    assert_parameters("", JSON, r#"{"s": "a\n\u00e9\ud83d\ude00"}"#, &[("s", "a\né😀")]);
    assert_parameters(
        "a=1+2%2B3&caf%C3%A9=%25&empty&=x",
        "",
        "",
        &[("a", "1 2+3"), ("café", "%"), ("empty", ""), ("", "x")],
    );
}

#[test]
fn an_empty_body_is_fine_whatever_its_type() {
    assert_parameters("a=1", "image/png", "", &[("a", "1")]);
    assert_parameters("a=1", JSON, "", &[("a", "1")]);
}

#[test]
fn another_content_type_is_refused() {
    assert_refused("", "text/plain", "a=1", 415);
    assert_refused("", "", "a=1", 415);
}

#[test]
fn what_is_no_text_is_refused() {
    assert_refused("a=%FF", "", "", 400);
    assert_refused("a=%00", "", "", 400);
    assert_refused("a=%0", "", "", 400);
    assert_refused("a=%zz", "", "", 400);
    assert_refused("", FORM, "%C3=1", 400);
    assert_refused("", JSON, r#"{"a": "\u0000"}"#, 400);
    assert_refused("", JSON, r#"{"a": ["deep", {"inside": "x\u0000"}]}"#, 400);
    assert_refused("", JSON, r#"{"a": "\ud800"}"#, 400);
}

#[test]
fn a_backslash_before_u0000_is_no_nul() {
    assert_parameters("", JSON, r#"{"a": "\\u0000"}"#, &[("a", r"\u0000")]);
}

#[test]
fn what_is_no_object_is_refused() {
    assert_refused("", JSON, "[1]", 422);
    assert_refused("", JSON, r#""text""#, 422);
    assert_refused("", JSON, r#"{"a": 1"#, 400);
    assert_refused("", JSON, r#"{"a": 1} {}"#, 400);
    assert_refused("", JSON, "{'a': 1}", 400);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"a": {}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(parameters("", JSON, &nested(50)).is_ok());
    assert_refused("", JSON, &nested(10_000), 400);
    assert_refused("", JSON, &"[".repeat(1_000_000), 400);
}
