use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

fn request(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read<T: DeserializeOwned>(values: &[&str]) -> Result<T, String> {
    let parameters: Vec<_> = values.iter().map(|value| ("it", *value)).collect();
    decode_one(&request(&parameters), "it").map_err(|error| error.to_string())
}

fn complaint<T: DeserializeOwned + std::fmt::Debug>(values: &[&str]) -> String {
    read::<T>(values).unwrap_err()
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Name(String);

#[derive(Debug, Deserialize, PartialEq)]
struct Size {
    width: u32,
}

#[test]
fn single_values_become_what_is_asked_for() {
    assert_eq!(read(&["10"]), Ok(10_u32));
    assert_eq!(read(&["-3"]), Ok(-3_i64));
    assert_eq!(read(&["2.5"]), Ok(2.5_f32));
    assert_eq!(read(&["true"]), Ok(true));
    assert_eq!(read(&["False"]), Ok(false));
    assert_eq!(read(&["10"]), Ok("10".to_owned()));
    assert_eq!(read(&["ü"]), Ok('ü'));
    assert_eq!(read(&["green"]), Ok(Colour::Green));
    assert_eq!(read(&["widget"]), Ok(Name("widget".into())));
    assert_eq!(read(&["10"]), Ok(serde_json::json!("10")));
}

#[test]
fn options_may_be_absent_and_lists_repeat() {
    assert_eq!(read::<Option<u32>>(&[]), Ok(None));
    assert_eq!(read(&["7"]), Ok(Some(7_u32)));
    assert_eq!(read::<Option<u32>>(&["null"]), Ok(None));
    assert_eq!(read::<Vec<u32>>(&[]), Ok(vec![]));
    assert_eq!(read(&["1", "2"]), Ok(vec![1_u32, 2]));
    assert_eq!(complaint::<Vec<u32>>(&["1", "two"]), "parameter `it`: `two` is not an integer of 0 to 4294967295");
}

#[test]
fn what_may_be_anything_is_an_object_a_list_or_null_where_that_was_sent() {
    let any = read::<serde_json::Value>;
    for json in [r#"{"a": [1, null]}"#, "[]", "null"] {
        assert_eq!(any(&[json]), Ok(serde_json::from_str(json).unwrap()));
    }
    for text in ["1.10", "true", "{not json", "[1"] {
        assert_eq!(any(&[text]), Ok(text.into()));
    }
}

#[test]
fn objects_and_tuples_are_read_as_json() {
    assert_eq!(read(&[r#"{"width": 3}"#]), Ok(Size { width: 3 }));
    assert_eq!(read(&[r#"{"a": 1}"#]), Ok(BTreeMap::from([("a".to_owned(), 1)])));
    assert_eq!(read(&["[1, 2]"]), Ok((1, 2)));
    assert_eq!(complaint::<(u8, u8)>(&["[1, 2] 3"]), "parameter `it`: trailing characters at line 1 column 8");
    assert_eq!(complaint::<Size>(&["{}"]), "parameter `it`: missing field `width` at line 1 column 2");
}

#[test]
fn a_complaint_says_which_parameter_what_it_was_and_what_it_should_be() {
    assert_eq!(complaint::<u32>(&["ten"]), "parameter `it`: `ten` is not an integer of 0 to 4294967295");
    assert_eq!(complaint::<i8>(&["200"]), "parameter `it`: `200` is not an integer of -128 to 127");
    assert_eq!(complaint::<bool>(&["maybe"]), "parameter `it`: `maybe` is not true or false");
    assert_eq!(complaint::<f64>(&["inf"]), "parameter `it`: `inf` is not a number");
    assert_eq!(complaint::<char>(&["ab"]), "parameter `it`: `ab` is not a single character");
    assert_eq!(complaint::<Colour>(&["blue"]), "parameter `it`: unknown variant `blue`, expected `red` or `green`");
    assert_eq!(complaint::<u32>(&[]), "parameter `it` is missing");
    assert_eq!(complaint::<u32>(&["1", "2"]), "parameter `it`: given 2 times, and one value is expected");
}

#[test]
fn a_long_value_is_cut_in_the_complaint() {
    let long = "ü".repeat(1000);
    let expected = format!("parameter `it`: `{}…` is not true or false", "ü".repeat(64));
    assert_eq!(complaint::<bool>(&[&long]), expected);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Widgets {
    count: u32,
    testing: Option<bool>,
    #[serde(default)]
    tag: Vec<String>,
}

#[test]
fn a_whole_request_becomes_a_struct() {
    let parameters = request(&[("tag", "a"), ("count", "10"), ("else", "x"), ("else", "y"), ("tag", "b")]);
    let widgets: Widgets = decode_all(&parameters).unwrap();
    assert_eq!(widgets, Widgets { count: 10, testing: None, tag: vec!["a".into(), "b".into()] });
}

#[test]
fn a_struct_that_does_not_fit_names_the_parameter() {
    let complaint = |parameters| decode_all::<Widgets>(&request(parameters)).unwrap_err().to_string();
    assert_eq!(complaint(&[("testing", "true")]), "parameter `count` is missing");
    assert_eq!(complaint(&[("count", "1"), ("testing", "maybe")]), "parameter `testing`: `maybe` is not true or false");
}
