//! What a terminal and a pipe see of each command.

use serde_json::Value;

use super::{all_shown, seen, with_widgets};
use crate::harness::Elita;

#[tokio::test]
async fn a_script_sees_lines_with_tabs_and_whole_values() {
    let (_host, elita) = with_widgets().await;
    let all = all_shown(
        &elita,
        &[
            "run my_application DeleteWidgets testing=true count=10",
            "run my_application DeleteWidgets testing=true",
            "run my_application DeleteWidgets testing=true count=many",
            "-q run my_application DeleteWidgets testing=true count=1",
            "action list my_application",
            "action show my_application DeleteWidgets",
            "job list --status succeeded --limit 1",
            "job show -",
            "job rerun - count=2",
            "job wait -",
            "log - --from 3",
            "plugin list",
            "plugin show widgets",
            "whoami",
            "status",
            "census my_application",
            "app show my_application",
            "token list",
            "token show current",
            "user permissions",
            "run my_application Nothing",
            "job show 00000000",
            "build download my_application 1",
        ],
    )
    .await;
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn each_noun_is_created_shown_changed_listed_and_deleted() {
    let (_host, elita) = with_widgets().await;
    let all = all_shown(
        &elita,
        &[
            "app create shop --attribute team=web --attribute size=3",
            "app update shop --unset attribute.team",
            "app list",
            "build create shop 1.42 --attribute commit=2f9c1e7",
            "build list shop",
            "build show shop 1.42",
            "packagemap create shop default --packages {\"web\":{\"patterns\":[\"web/**\"]}}",
            "packagemap list shop",
            "keypair create deploy --generate",
            "keypair list -q",
            "gitprovider create forge --type gitea --base-url https://git.example.org",
            "gitprovider list",
            "gitrepo create shop site --existing --uri git@git.example.org:shop/site.git --keypair deploy",
            "gitrepo list shop",
            "gitdeploy create shop site --package web --gitrepo site --path /srv/site",
            "gitdeploy show shop site",
            "group create shop web --gitdeploys [\"site\"] --rolling",
            "group update shop web --description Front",
            "group list shop",
            "server create web-1 --env production --driver ssh --host web-1.example.org",
            "server update web-1 --env staging --attribute rack=7",
            "server list --env staging",
            "server environments",
            "audit list --operation servers.update",
            "group delete shop web --yes",
            "server delete web-1 --yes",
            "server show web-1",
            "server update web-1",
        ],
    )
    .await;
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn people_see_tables_and_colours() {
    let (_host, elita) = with_widgets().await;
    let mut all = String::new();
    for (line, typed) in [
        ("run my_application DeleteWidgets count=10", ("): ", "true\n")),
        ("job list", ("", "")),
        ("plugin list", ("", "")),
        ("action show my_application DeleteWidgets", ("", "")),
        ("app create shop", ("", "")),
        ("app delete shop", ("[y/N] ", "y\n")),
        ("app list", ("", "")),
    ] {
        all += &seen(&elita, line, typed).await;
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn no_color_is_honoured() {
    let (_host, elita) = with_widgets().await;
    let coloured = elita.on_terminal(&["plugin", "list"], "").await.0;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    assert!(elita.on_terminal(&["plugin", "list", "--color", "never"], "").await.0.find('\u{1b}').is_none());
    let elita = elita.with("NO_COLOR", "1");
    assert!(elita.on_terminal(&["plugin", "list"], "").await.0.find('\u{1b}').is_none());
}

#[tokio::test]
async fn json_is_json_also_on_failure_and_nothing_else() {
    let (host, elita) = with_widgets().await;
    for line in [
        "app list",
        "app show my_application",
        "action list my_application",
        "job list",
        "plugin show widgets",
        "whoami",
        "status",
        "census my_application",
        "doctor",
        "token list",
        "api GET /about",
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        let said = elita.run(&words).await;
        assert_eq!((said.code, &*said.stderr), (0, ""), "{line}: {said}");
        assert!(serde_json::from_str::<Value>(&said.stdout).is_ok(), "{line}: {said}");
    }
    let missing = elita.run(&["--json", "run", "my_application", "DeleteWidgets", "testing=true"]).await;
    let problem: Value = serde_json::from_str(&missing.stderr).unwrap();
    assert_eq!((missing.code, &problem["code"]), (5, &Value::from("missing-parameters")), "{missing}");
    assert_eq!(missing.stdout, "");
    let lost = Elita::new().run(&["--json", "app", "list"]).await;
    assert!(serde_json::from_str::<Value>(&lost.stderr).is_ok(), "{lost}");
    let document = elita.run(&["--json", "app", "show", "my_application"]).await;
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document, host.client.get("/app/my_application").await.body, "nothing is added or renamed");
}

#[tokio::test]
async fn help_and_manual_say_the_same_of_every_command() {
    let elita = Elita::new();
    insta::assert_snapshot!(elita.run(&["--help"]).await.stdout);
    insta::assert_snapshot!(elita.run(&["help", "exit-codes"]).await.stdout);
    let said = elita.run(&["man", "pages"]).await;
    assert_eq!(said.code, 0, "{said}");
    let page = std::fs::read_to_string(elita.home().join("pages/elita-job-list.1")).unwrap();
    assert!(page.contains(".SH \"EXIT CODES\"") && page.contains("elita\\-job\\-list"), "{page}");
}

#[tokio::test]
async fn lists_are_read_from_the_oldest_on_and_narrowed_by_time() {
    let (_host, elita) = with_widgets().await;
    for count in ["1", "2", "3"] {
        let count = format!("count={count}");
        assert_eq!(elita.run(&["run", "my_application", "DeleteWidgets", "testing=true", &count]).await.code, 0);
    }
    for build in ["b", "a", "c"] {
        assert_eq!(elita.run(&["build", "create", "my_application", build]).await.code, 0);
    }
    for list in ["job list", "audit list", "build list my_application --newest 10"] {
        let words: Vec<&str> = list.split(' ').chain(["--quiet"]).collect();
        let newest_first = elita.run(&words).await.stdout;
        let words = words.into_iter().filter(|word| !["--newest", "10"].contains(word));
        let words: Vec<&str> = words.chain(["--since", "1h", "--oldest-first"]).collect();
        let oldest_first = elita.run(&words).await.stdout;
        assert!(oldest_first.lines().count() >= 3, "{list}: {oldest_first}");
        assert!(oldest_first.lines().rev().eq(newest_first.lines()), "{list}: {oldest_first}{newest_first}");
        let words: Vec<&str> = words.into_iter().chain(["--until", "1h"]).collect();
        assert_eq!(elita.run(&words).await.stdout, "", "{list}");
    }
    let deployments = ["deployment", "list", "my_application", "--status", "error", "--status", "cancelled"];
    assert_eq!(elita.run(&deployments).await.code, 0);
    let refused = elita.run(&["deployment", "list", "my_application", "--status", "failed"]).await;
    assert!(refused.code != 0 && refused.stderr.contains("`complete`"), "{refused}");
}
