use super::*;

#[test]
fn servers_on_which_something_failed_stay_out() {
    let on = |state: &str| json!({ "web": { "state": state } });
    let batches = json!([
        { "web1": on("succeeded"), "web2": on("failed") },
        { "web3": on("pending") },
    ]);
    assert_eq!(well(&json!({ "progress": { "phase2": { "batches": batches } } })), ["web1", "web3"]);
}
