use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::body::Content;
use super::super::problem::Problem;
use super::{Source, merged, of_body, of_query, read};
use crate::datasvc::AppName;

#[derive(Debug, Deserialize, PartialEq)]
struct New {
    app_name: AppName,
    size: Option<u32>,
    #[serde(default)]
    force: bool,
    labels: Option<Vec<String>>,
}

fn new(app_name: &str) -> New {
    New { app_name: AppName::parse(app_name).expect("a name"), size: None, force: false, labels: None }
}

fn arguments(uri: &'static str, content_type: &'static str, body: &str) -> Result<New, Problem> {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let query = of_query(&Uri::from_static(uri))?;
    let body = of_body(Content::parse(&headers, body.as_bytes())?);
    read(&merged(query, body)?, Source::Body)
}

fn from_query(uri: &'static str) -> Result<New, Problem> {
    arguments(uri, "", "")
}

fn from_json(body: &str) -> Result<New, Problem> {
    arguments("/app", "application/json; charset=utf-8", body)
}

/// Status, code and the first error of the reply.
fn refusal(result: Result<New, Problem>) -> (u64, String, Json) {
    let document = result.expect_err("the arguments are wrong").into_document("id".into());
    let document = serde_json::to_value(document).expect("a document is JSON");
    let code = document["code"].as_str().expect("a code is text").to_owned();
    (document["status"].as_u64().expect("a status is a number"), code, document["errors"][0].clone())
}

#[test]
fn arguments_come_from_the_query_a_form_or_json() {
    let expected = New { size: Some(7), force: true, ..new("shop") };
    assert_eq!(from_query("/app?app_name=shop&size=7&force=true").expect("a query"), expected);
    let form = arguments("/app", "application/x-www-form-urlencoded", "app_name=shop&size=7&force=true");
    assert_eq!(form.expect("a form"), expected);
    assert_eq!(from_json(r#"{"app_name": "shop", "size": 7, "force": true}"#).expect("JSON"), expected);
}

#[test]
fn json_may_hold_what_a_query_cannot() {
    let expected = New { labels: Some(vec!["a".into()]), ..new("shop") };
    assert_eq!(from_json(r#"{"app_name": "shop", "labels": ["a"]}"#).expect("JSON"), expected);
}

#[test]
fn both_places_may_say_the_same_and_not_something_else() {
    let both = arguments("/app?app_name=shop&size=7", "application/json", r#"{"app_name": "shop", "size": 7}"#);
    assert_eq!(both.expect("they agree"), New { size: Some(7), ..new("shop") });
    let conflict = refusal(arguments("/app?app_name=shop", "application/json", r#"{"app_name": "blog"}"#));
    let error = json!({"pointer": "/app_name", "detail": "differs from the value in the query string"});
    assert_eq!(conflict, (400, "malformed".into(), error));
}

#[test]
fn unknown_names_are_pointed_at_where_they_stand() {
    let error = json!({"pointer": "/a~1b", "detail": "is not known here"});
    assert_eq!(refusal(from_json(r#"{"app_name": "shop", "a/b": 1}"#)), (400, "malformed".into(), error));
    let error = json!({"parameter": "colour", "detail": "is not known here"});
    assert_eq!(refusal(from_query("/app?app_name=shop&colour=red")), (400, "malformed".into(), error));
}

#[test]
fn wrong_types_are_pointed_at_where_they_stand() {
    let error = json!({"parameter": "size", "detail": "expected a whole number"});
    assert_eq!(refusal(from_query("/app?app_name=shop&size=big")), (422, "invalid".into(), error));
    let error = json!({"pointer": "/app_name", "detail": "expected a text, not the number `5`"});
    assert_eq!(refusal(from_json(r#"{"app_name": 5}"#)), (422, "invalid".into(), error));
}

#[test]
fn what_is_no_name_is_pointed_at_with_the_rule() {
    let rule = "a name is 1 to 128 of `A-Z a-z 0-9 . _ -` and starts with a letter or a digit";
    let error = json!({"pointer": "/app_name", "detail": rule});
    assert_eq!(refusal(from_json(r#"{"app_name": "_global"}"#)), (422, "invalid".into(), error));
}

#[test]
fn missing_and_repeated_names_are_refused() {
    let error = json!({"pointer": "/app_name", "detail": "is missing"});
    assert_eq!(refusal(from_json("{}")), (400, "malformed".into(), error));
    let error = json!({"pointer": "/app_name", "detail": "is given twice"});
    assert_eq!(refusal(from_json(r#"{"app_name": "a", "app_name": "a"}"#)), (400, "malformed".into(), error));
}

#[test]
fn pretty_belongs_to_every_request() {
    for uri in ["/app?pretty&app_name=shop", "/app?pretty=&app_name=shop", "/app?pretty=False&app_name=shop"] {
        assert_eq!(from_query(uri).expect("a query"), new("shop"));
    }
    assert_eq!(refusal(from_query("/app?pretty=please&app_name=shop")).0, 422);
}
