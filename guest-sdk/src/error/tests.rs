use serde_json::json;

use super::*;

#[test]
fn question_marks_take_texts_errors_and_answers_of_the_host() {
    fn text() -> Result<()> {
        Err("no widgets")?
    }
    fn string() -> Result<()> {
        Err(format!("no {}", "widgets"))?
    }
    fn json() -> Result<Value> {
        Ok(serde_json::from_str("{")?)
    }
    fn host() -> Result<()> {
        Err(WitError::NotFound("no job `1`".into()))?
    }

    assert_eq!(text().unwrap_err().to_string(), "no widgets");
    assert_eq!(string().unwrap_err().to_string(), "no widgets");
    assert_eq!(json().unwrap_err().to_string(), "EOF while parsing an object at line 1 column 1");
    assert_eq!(host().unwrap_err().to_string(), "no job `1`");
    assert_eq!(host().unwrap_err().code().map(Code::as_str), Some("not-found"));
    assert_eq!(text().unwrap_err().code(), None);
}

#[test]
fn an_error_is_told_with_its_causes() {
    #[derive(Debug)]
    struct Reading(std::num::ParseIntError);
    impl std::fmt::Display for Reading {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("reading the list")
        }
    }
    impl std::error::Error for Reading {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let error = Error::from(Reading("x".parse::<u8>().unwrap_err()));
    assert_eq!(error.to_string(), "reading the list: invalid digit found in string");
}

#[test]
fn a_failure_carries_message_and_details() {
    let failure = Failure::from(Error::new("no widgets").with_details(json!({ "left": 0 })));
    assert_eq!(failure.message, "no widgets");
    assert_eq!(failure.details.as_deref(), Some(r#"{"left":0}"#));
}
