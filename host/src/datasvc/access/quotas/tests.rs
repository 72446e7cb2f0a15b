use super::*;

/// A change that is as large as one may be.
const CHANGE: usize = 128 * 1024;

fn user(number: usize) -> Whose {
    Whose::User(format!("user{number}"))
}

#[test]
fn users_together_use_up_what_may_be_changed_of_their_application() {
    let quotas = Quotas::default();
    let shared = Whose::Application("shared".into());
    let mut changes = 0;
    let refused = loop {
        // Twenty users take turns, none of whom comes near to what one may change.
        let whose = user(changes % 20);
        assert!(quotas.check(&whose).is_ok(), "{whose:?} has to wait alone after {changes} changes");
        if let Err(problem) = quotas.check(&shared) {
            break problem;
        }
        quotas.count(whose, CHANGE);
        quotas.count(shared.clone(), CHANGE);
        changes += 1;
        assert!(changes < 2_000, "they go on and on");
    };
    assert!(changes >= 1_024, "{changes} changes are 128 MiB");
    let Error::Throttled { reason, retry_after } = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("application `shared` has changed or asked for too much"), "{reason}");
    assert!(retry_after >= Duration::from_secs(1), "{retry_after:?}");
    assert!(quotas.check(&Whose::Application("other".into())).is_ok());
}
