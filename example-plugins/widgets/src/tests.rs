use super::*;

fn failure(parameters: &[(&str, &str)]) -> String {
    let call = ActionCall::new("my_application", "DeleteWidgets", parameters.iter().copied());
    delete_widgets(&call).map_err(|error| error.to_string()).expect_err("it should not get as far as the host")
}

#[test]
fn parameters_that_are_not_what_they_should_be_are_refused() {
    assert_eq!(
        failure(&[("testing", "perhaps"), ("count", "1")]),
        "parameter `testing`: `perhaps` is not true or false"
    );
    assert_eq!(
        failure(&[("testing", "true"), ("count", "ten")]),
        "parameter `count`: `ten` is not an integer of 0 to 4294967295"
    );
}

#[test]
fn more_widgets_than_there_are_cannot_be_deleted() {
    assert_eq!(failure(&[("testing", "true"), ("count", "1001")]), "there are 1000 widgets, 1001 cannot be deleted");
}
