//! `elita NOUN edit`: a document in an editor, and what was changed sent for the version that was read.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::with_widgets;
use crate::harness::Elita;

/// With an editor that runs these lines of a shell on the file, `$1`.
fn with_editor(elita: Elita, lines: &str) -> Elita {
    let editor = elita.home().join("my editor");
    std::fs::write(&editor, format!("#!/bin/sh\nset -e\n{lines}\n")).unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    elita.with("EDITOR", &format!("'{}'", editor.display()))
}

#[tokio::test]
async fn what_was_changed_in_the_editor_is_sent_and_nothing_else() {
    let (host, elita) = with_widgets().await;
    let made = elita.run(&["app", "create", "shop", "--attribute", "team=web", "--attribute", "old=1"]).await;
    assert_eq!(made.code, 0, "{made}");
    let edit = r#"sed -i -e 's/"web"/"shop"/' -e 's/"old": 1/"new": 2/' "$1""#;
    let elita = with_editor(elita, edit);
    let (seen, code) = elita.on_terminal(&["app", "edit", "shop"], "").await;
    assert_eq!((code, seen.contains("app `shop` is changed")), (0, true), "{seen}");
    let app = host.client.get("/app/shop").await.body;
    assert_eq!(app["attributes"], json!({ "team": "shop", "new": 2 }));
    let audit = host.client.get("/global/audit?operation=applications.update").await;
    assert_eq!(audit.body["items"].as_array().unwrap().len(), 1, "{audit}");

    let (seen, code) = with_editor(elita, "true").on_terminal(&["app", "edit", "shop"], "").await;
    assert_eq!((code, seen.contains("nothing was changed")), (0, true), "{seen}");
    assert_eq!(host.client.get("/app/shop").await.body, app);
}

#[tokio::test]
async fn a_document_that_somebody_else_changed_meanwhile_is_not_overwritten_and_the_text_is_kept() {
    let (host, elita) = with_widgets().await;
    let program = crate::harness::elita().display().to_string();
    // Somebody else is quicker.
    let quicker =
        format!("{program} app update my_application --attribute by=ben\nsed -i 's/{{}}/{{\"by\": \"ada\"}}/' \"$1\"");
    let elita = with_editor(elita, &quicker);
    let (seen, code) = elita.on_terminal(&["app", "edit", "my_application"], "").await;
    assert_eq!(code, 5, "{seen}");
    assert!(seen.contains("has changed since") && seen.contains("try: the same again"), "{seen}");
    assert_eq!(host.client.get("/app/my_application").await.body["attributes"], json!({ "by": "ben" }));
    let kept = seen.split("what was written is kept in ").nth(1).unwrap().lines().next().unwrap();
    assert!(std::fs::read_to_string(kept).unwrap().contains("\"by\": \"ada\""), "{seen}");
    std::fs::remove_file(kept).unwrap();
}

#[tokio::test]
async fn an_editor_that_fails_and_what_is_no_json_change_nothing() {
    let (host, elita) = with_widgets().await;
    let before = host.client.get("/app/my_application").await.body;
    let elita = with_editor(elita, "exit 3");
    let (seen, code) = elita.on_terminal(&["app", "edit", "my_application"], "").await;
    assert_eq!((code, seen.contains("failed, and nothing was changed")), (2, true), "{seen}");
    let elita = with_editor(elita, "echo nonsense > \"$1\"");
    let (seen, code) = elita.on_terminal(&["app", "edit", "my_application"], "").await;
    assert_eq!((code, seen.contains("is not a JSON object, and nothing was changed")), (2, true), "{seen}");
    let kept = seen.split("what was written is kept in ").nth(1).unwrap().lines().next().unwrap();
    std::fs::remove_file(kept).unwrap();
    let said = elita.run(&["app", "edit", "my_application"]).await;
    assert_eq!((said.code, said.stderr.contains("an editor needs a terminal")), (2, true), "{said}");
    assert_eq!(host.client.get("/app/my_application").await.body, before);
}
