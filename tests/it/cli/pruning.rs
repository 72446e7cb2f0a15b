//! Removing old builds from the command line.

use serde_json::json;

use super::all_shown;
use crate::harness::{Elita, TestHost};

#[tokio::test]
async fn old_builds_are_shown_and_then_removed() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for name in ["1", "2", "3"] {
        let attributes = json!({ "pinned": name == "1" });
        host.client.post("/app/shop/builds", &json!({ "build_name": name, "attributes": attributes })).await;
    }
    let stored = "update builds set stored = true";
    sqlx::query(stored).execute(&mut host.database.connect().await).await.unwrap();
    let elita = Elita::of(&host);
    let lines = [
        "build prune shop --keep-last 1 --dry-run",
        // Without a terminal nobody can agree.
        "build prune shop --keep-last 1",
        "build prune shop",
        "build prune shop --keep-last 1 --yes",
        "build prune shop --keep-seconds 30d --yes -q",
        "build list shop -q",
        "app update shop --keep-last 20",
        "app update shop --unset retention",
    ];
    insta::assert_snapshot!(all_shown(&elita, &lines).await);
    let rule = elita.run(&["app", "update", "shop", "--keep-last", "5", "--keep-seconds", "60", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&rule.stdout).unwrap();
    assert_eq!(shown["retention"], json!({ "keep_last": 5, "keep_seconds": 60 }), "{rule}");
}
