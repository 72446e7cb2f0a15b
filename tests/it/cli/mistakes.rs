//! What people get wrong, and what they are told: what is wrong, and what to do.

use super::{all_shown, redacted, shown, with_steps, with_widgets};
use crate::harness::{Answer, Elita, Outside};

#[tokio::test]
async fn a_slip_of_the_pen_is_told_with_what_to_do() {
    let (_host, elita) = with_widgets().await;
    let all = all_shown(
        &elita,
        &[
            "runn my_application DeleteWidgets",
            "app lst",
            "job list --staus failed",
            "job cancel",
            "run",
            "build show",
            "plugin new hello --lang cobol",
            "--json app lst",
            "run my_aplication DeleteWidgets testing=true count=1",
            "run my_application DeletWidgets testing=true count=1",
            "run my_application DeleteWidgets testing count=1",
            "run my_application DeleteWidgets testing=true cuont=1",
            "run my_application DeleteWidgets testing=true count=@missing.txt",
            "run my_application DeleteWidgets --params missing.json",
            "app show nothing",
            "build show my_application 9",
            "build download my_application 9",
            "gitdeploy show my_application 9",
            "server show nothing",
            "plugin show nothing",
            "user show nothing",
            "app create my_application",
            "app create -x",
            "app create bad/name",
            "server create web-1",
            "server create web-1 --env staging --driver carrier-pigeon",
            "job show 12",
            "job show 01a20399",
            "job show 01a20399-fee3-77aa",
            "job list --status runing",
            "job list --since yesterday",
            "upload my_application 1",
            "upload my_application 1 missing.zip",
            "upload my_application 1 . --type zip",
            "upload my_application 1 .",
            "upload my_application 1 notes.txt",
            "app update my_application",
            "server update web-1 --env staging",
            "app delete my_application",
            "api GET app",
            "api GET /nothing",
            "completions tcsh",
            "help nothing",
            "--server not://a-server app list",
            "--server http://elita.invalid app list",
            "--server https://me:secret@elita.invalid app list",
        ],
    )
    .await;
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_told_with_where_it_came_from() {
    let (host, _) = with_widgets().await;
    let url = host.client.base();
    let mut all = shown(&Elita::at(url, "no-token"), "app list").await;
    let person = Elita::new().with("ELITA_SERVER", url);
    all += &shown(&person, "app list").await;
    std::fs::write(person.home().join("token"), "no-token\n").unwrap();
    crate::cli::settings::set_mode(&person.home().join("token"), 0o600);
    all += &shown(&person, "--token-file token app list").await;
    all += &shown(&person, "--token-file missing app list").await;
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let (host, _) = with_widgets().await;
    let mut all = String::new();
    for config in [
        "current = [",
        "curent = \"prod\"",
        "current = \"prod\"",
        "current = \"prod\"\n[contexts.prod]\nserver = \"http://elita.invalid\"",
        "current = \"prod\"\n[contexts.prod]\nserver = \"https://elita.invalid\"\nca_file = \"/missing.pem\"",
        "current = \"prod\"\n[contexts.prod]\nserver = \"https://elita.invalid\"\ntoken_command = [\"false\"]",
    ] {
        let elita = Elita::new();
        let folder = elita.home().join("elita");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let elita = elita.with("ELITA_CONFIG_DIR", folder.to_str().unwrap());
        let said = shown(&elita, "app list").await;
        all += &format!("{config}\n{}", said.replace(elita.home().to_str().unwrap(), "~"));
    }
    insta::assert_snapshot!(all);
    drop(host);
}

#[tokio::test]
async fn another_server_than_elita_and_another_version_are_told_apart() {
    let page = "<html>welcome</html>";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    );
    let other = Outside::new(Answer::Says(head)).await;
    let elita = Elita::at(&format!("http://127.0.0.1:{}", other.port()), "no-token");
    let mut all = shown(&elita, "app list").await + &shown(&elita, "doctor").await;
    let about = r#"{"name": "elita", "version": "9.8.7", "username": "ada", "expires_at": "2999-01-01T00:00:00Z"}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{about}",
        about.len()
    );
    let newer = Outside::new(Answer::Says(head)).await;
    let elita = Elita::at(&format!("http://127.0.0.1:{}", newer.port()), "no-token");
    let said = shown(&elita, "doctor").await;
    all += said.split(", valid for").next().unwrap();
    let moved = Outside::new(Answer::redirect("https://elita.example.org/")).await;
    all += "\n";
    all += &shown(&Elita::at(&format!("http://127.0.0.1:{}", moved.port()), "no-token"), "app list").await;
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_and_a_full_disk_do_not_look_like_success() {
    let (_host, elita) = with_steps().await;
    let program = crate::harness::elita().display().to_string();
    let shell = async |line: &str| {
        let line = line.replace("elita", &program);
        let (seen, code) = elita.shell_on_terminal(&["bash", "-c", &line], &[]).await;
        (redacted(&seen), code)
    };
    let enough = shell("elita job list --json | true; exit ${PIPESTATUS[0]}").await;
    assert_eq!(enough, (String::new(), 141));
    let (seen, code) = shell("elita run hostile Noop --json >/dev/full").await;
    assert_eq!(
        (code, &*seen),
        (
            2,
            "{\"type\":\"about:blank\",\"title\":\"elita\",\"detail\":\"standard output cannot be written: No space left on device\",\"code\":\"usage\"}\n"
        )
    );
    // Without standard input nothing is asked, and nothing hangs.
    let (seen, code) = shell("elita app delete hostile <&-").await;
    assert_eq!((code, seen.contains("try: --yes")), (2, true), "{seen}");
}

#[tokio::test]
async fn a_narrow_terminal_cuts_lines_and_wraps_none() {
    let (_host, elita) = with_widgets().await;
    assert_eq!(elita.run(&["run", "my_application", "DeleteWidgets", "testing=true", "count=1"]).await.code, 0);
    let program = crate::harness::elita().display().to_string();
    for list in ["job list", "plugin list", "app list", "token list", "action list my_application"] {
        let line = format!("stty cols 40; NO_COLOR=1 {program} {list}");
        let (seen, code) = elita.shell_on_terminal(&["bash", "-c", &line], &[]).await;
        assert_eq!(code, 0, "{seen}");
        let lines: Vec<_> = seen.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines.len() >= 2 && lines.iter().all(|line| line.chars().count() <= 40), "{list}: {seen}");
    }
}
