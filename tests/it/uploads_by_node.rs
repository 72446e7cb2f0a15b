//! Uploads by Node.js, whose `fetch` loses a reply that comes before all of the body has been sent, unless the rest is taken.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::TestHost;
use crate::languages::with_node;

/// Sends forms in different orders, again and again, and prints what each was answered.
const SCRIPT: &str = r#"
const [base, token] = process.argv.slice(1);
const file = new Blob([Buffer.concat([Buffer.from("504b0506" + "0".repeat(36), "hex"), Buffer.alloc(8_000_000)])]);
const forms = {
  "file first": { build: file, file_type: "zip" },
  "unknown type": { file_type: "rar", build: file },
  "unknown part": { colour: "red", build: file },
  "no such map": { package_map: "none", build: file },
};
const seen = {};
for (const [name, parts] of Object.entries(forms)) {
  for (let turn = 0; turn < 10; turn++) {
    const body = new FormData();
    for (const [part, value] of Object.entries(parts)) body.append(part, value);
    const headers = { authorization: `Bearer ${token}` };
    let said;
    try {
      const reply = await fetch(`${base}/app/shop/builds/1`, { method: "POST", headers, body });
      said = `${reply.status} ${(await reply.json()).detail}`;
    } catch (error) {
      said = `lost: ${error.cause ?? error}`;
    }
    (seen[name] ??= {})[said] = (seen[name][said] ?? 0) + 1;
  }
}
console.log(JSON.stringify(seen));
"#;

#[tokio::test]
async fn a_refused_form_is_understood_by_the_fetch_of_node() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let created = host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(created.status, 201, "{created}");
    let mut node = with_node(Command::new("node"));
    node.args(["--input-type=module", "-e", SCRIPT, host.client.base(), &host.database.token]);
    let output = tokio::task::spawn_blocking(move || node.output().unwrap()).await.unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    for (name, said) in [
        (
            "file first",
            "422 the part `file_type` comes after the file, which has already been received: send the part `build`, the \
                        file, last, or `file_type` in the query string",
        ),
        ("unknown type", "422 file_type: "),
        ("unknown part", "400 not known here: `colour`"),
        ("no such map", "404 package map `none` does not exist"),
    ] {
        let answers = seen[name].as_object().unwrap();
        let same = answers.len() == 1 && answers.iter().all(|(answer, times)| answer.starts_with(said) && *times == 10);
        assert!(same, "{name}: {seen:#}");
    }
}
