use super::Reached;

fn step(percent: i16, step: Option<&str>) -> Option<Reached> {
    Some(Reached { percent, step: step.map(str::to_owned) })
}

#[test]
fn an_entry_with_a_number_from_0_to_100_says_how_far_the_job_is() {
    assert_eq!(Reached::of(r#"{"status":"half","progress":50}"#), step(50, Some("half")));
    assert_eq!(Reached::of(r#"{"progress":99.9,"more":[1,{"progress":3}]}"#), step(99, None));
    assert_eq!(Reached::of(r#"{"progress":0,"status":{"a":1}}"#), step(0, None));
}

#[test]
fn anything_else_says_nothing() {
    for entry in [
        r#"{"status":"half"}"#,
        r#""progress""#,
        r#"["progress"]"#,
        r#"{"progress":"45 %"}"#,
        r#"{"progress":101}"#,
        r#"{"progress":-1}"#,
        r#"{"more":{"progress":3}}"#,
        r#"{"progress":null}"#,
    ] {
        assert_eq!(Reached::of(entry), None, "{entry}");
    }
}

#[test]
fn a_long_status_is_cut_between_characters() {
    let cut = Reached::of(&format!(r#"{{"status":"{}","progress":1}}"#, "ä".repeat(300))).unwrap();
    assert_eq!(cut.step.unwrap(), "ä".repeat(200));
}
