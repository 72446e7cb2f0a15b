//! Contexts, credentials, and the server on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{shown, with_widgets};
use crate::harness::{Elita, PASSWORD, Setup, TestHost};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Somebody who has logged in as the administrator.
async fn logged_in(host: &TestHost) -> Elita {
    let elita = Elita::new();
    let url = host.client.base();
    let said =
        elita.run_with(&["login", url, "--username", "admin", "--password-stdin", "--name", "here"], PASSWORD).await;
    assert_eq!(said.code, 0, "{said}");
    elita
}

#[tokio::test]
async fn logging_in_keeps_the_token_where_only_its_owner_can_read_it() {
    let (host, _) = with_widgets().await;
    let elita = logged_in(&host).await;
    let folder = elita.home().join(".config/elita");
    assert_eq!((mode(&folder), mode(&folder.join("credentials.toml"))), (0o700, 0o600));
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    assert!(!config.contains("token") && config.contains("current = \"here\""), "{config}");
    assert_eq!(elita.run(&["app", "list", "-q"]).await.stdout, "my_application\n");

    let credentials = std::fs::read_to_string(folder.join("credentials.toml")).unwrap();
    assert_eq!(elita.run(&["logout"]).await.code, 0);
    let secret = credentials.lines().find_map(|line| line.strip_prefix("token = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(host.client.with_token(secret).get("/app").await.status, 401, "it is revoked");
    let after = elita.run(&["app", "list"]).await;
    assert_eq!(after.code, 4, "{after}");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_refused_with_the_line_that_repairs_it() {
    let (host, _) = with_widgets().await;
    let elita = logged_in(&host).await;
    let credentials = elita.home().join(".config/elita/credentials.toml");
    set_mode(&credentials, 0o644);
    let said = elita.run(&["app", "list"]).await;
    assert_eq!(said.code, 2, "{said}");
    assert!(said.stderr.contains("holds secrets, and others can read it"), "{said}");
    let line = said.stderr.lines().find_map(|line| line.strip_prefix("try: chmod 600 ")).unwrap();
    set_mode(Path::new(line), 0o600);
    assert_eq!(elita.run(&["app", "list"]).await.code, 0);

    std::os::unix::fs::chown(&credentials, Some(12345), None).unwrap();
    let said = elita.run(&["app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("belongs to another user")), (2, true), "{said}");
}

#[tokio::test]
async fn settings_that_others_can_change_are_refused_because_they_name_programs() {
    let (host, _) = with_widgets().await;
    let elita = logged_in(&host).await;
    let config = elita.home().join(".config/elita/config.toml");
    for mode in [0o622, 0o660] {
        set_mode(&config, mode);
        let said = elita.run(&["app", "list"]).await;
        assert_eq!((said.code, said.stderr.contains("others can change it")), (2, true), "{said}");
        assert!(said.stderr.contains("try: chmod go-w "), "{said}");
    }
    // Reading it does no harm.
    set_mode(&config, 0o644);
    assert_eq!(elita.run(&["app", "list"]).await.code, 0);
    std::os::unix::fs::chown(&config, Some(12345), None).unwrap();
    let said = elita.run(&["app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("belongs to another user")), (2, true), "{said}");
}

#[tokio::test]
async fn what_somebody_wrote_into_the_settings_stays_there() {
    let (host, _) = with_widgets().await;
    let elita = logged_in(&host).await;
    let file = elita.home().join(".config/elita/config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# mine\n{text}")).unwrap();
    assert_eq!(elita.run(&["context", "app", "my_application"]).await.code, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("app = \"my_application\""), "{text}");
    let said = elita.run(&["run", "DeleteWidgets", "testing=true", "count=1"]).await;
    assert_eq!(said.code, 0, "the application is meant: {said}");
}

#[tokio::test]
async fn the_server_on_this_machine_is_found_from_any_folder_below() {
    let (host, _) = with_widgets().await;
    let elita = Elita::new();
    let place = elita.home().join("clone");
    std::fs::create_dir_all(place.join("deep/inside")).unwrap();
    let data = place.join("elita-data");
    std::os::unix::fs::symlink(host.data_dir(), &data).unwrap();
    let token = data.join("token");
    std::fs::write(&token, &host.database.token).unwrap();
    set_mode(&token, 0o600);

    let elita = elita.with("ELITA_DATA_DIR", data.to_str().unwrap());
    assert_eq!(elita.run(&["app", "list", "-q"]).await.stdout, "my_application\n");
    set_mode(&token, 0o644);
    assert_eq!(elita.run(&["app", "list", "-q"]).await.code, 4, "a token that others can read is not sent");
    set_mode(&token, 0o600);
    set_mode(host.data_dir(), 0o777);
    assert_eq!(elita.run(&["app", "list", "-q"]).await.code, 4, "a folder that others can write to is not believed");
    set_mode(host.data_dir(), 0o700);
    let stopped = host.stop().await;
    assert!(!data.join("server.json").exists(), "a server that stops says nothing any more");
    drop(stopped);
}

#[tokio::test]
async fn a_plugin_in_the_making_goes_to_the_server_here_also_when_a_context_names_it() {
    let host = TestHost::start().await;
    host.create_application("my_application").await;
    let elita = logged_in(&host).await.with("ELITA_DATA_DIR", host.data_dir().to_str().unwrap());
    assert_eq!(elita.run(&["plugin", "new", "hello", "--lang", "c"]).await.code, 0);
    let component = crate::harness::plugin_file("c");
    let dev = ["plugin", "dev", "hello", "--once", "--build", "true", "--file", component.to_str().unwrap()];
    let said = elita.run(&dev).await;
    assert_eq!((said.code, said.stderr.contains("✓ hello is in force, version 1")), (0, true), "{said}");

    // A server elsewhere has no folder here.
    let other = TestHost::start().await;
    let elsewhere = elita.with("ELITA_SERVER", other.client.base()).with("ELITA_TOKEN", &other.database.token);
    let said = elsewhere.run(&dev).await;
    let expected = format!("is another server than the one here\ntry: --server {}", host.client.base());
    assert_eq!((said.code, said.stderr.contains(&expected)), (2, true), "{said}");
}

#[tokio::test]
async fn a_token_goes_only_to_the_server_that_it_was_made_for() {
    let (host, _) = with_widgets().await;
    let said = Elita::new().with("ELITA_TOKEN", &host.database.token).run(&["app", "list"]).await;
    assert_eq!(said.code, 2, "{said}");
    assert!(said.stderr.contains("name the server with ELITA_SERVER or --server"), "{said}");
    let elsewhere = logged_in(&host).await;
    let other = TestHost::start().await;
    let said = elsewhere.run(&["--server", other.client.base(), "app", "list"]).await;
    assert_eq!((said.code, said.stderr.starts_with("elita: not logged in\n")), (4, true), "{said}");
    let said = Elita::new().run(&["--server", "http://192.0.2.1", "app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("is not encrypted")), (2, true), "{said}");
}

#[tokio::test]
async fn verbose_says_which_requests_are_made_and_no_secret() {
    let (host, elita) = with_widgets().await;
    let said = elita.run(&["-v", "run", "my_application", "DeleteWidgets", "testing=true", "count=1"]).await;
    assert!(said.stderr.contains("POST /app/my_application/actions/DeleteWidgets 202"), "{said}");
    assert!(!said.to_string().contains(&host.database.token));
    for flag in ["--token", "--password"] {
        assert_eq!(
            elita.run(&["app", "list", flag, "x"]).await.code,
            2,
            "there is no {flag}: others can read arguments"
        );
    }
}

#[tokio::test]
async fn nothing_is_asked_without_a_terminal() {
    let (host, elita) = with_widgets().await;
    let said = elita.run_with(&["app", "delete", "my_application"], "y\n").await;
    assert_eq!((said.code, said.stderr.contains("try: --yes")), (2, true), "{said}");
    let (seen, code) = elita.on_terminal(&["app", "delete", "my_application"], "n\n").await;
    assert_eq!(code, 2, "{seen}");
    let (seen, code) = elita.with("CI", "true").on_terminal(&["app", "delete", "my_application"], "y\n").await;
    assert_eq!(code, 2, "{seen}");
    assert_eq!(host.client.get("/app/my_application").await.status, 200);
}

#[tokio::test]
async fn the_doctor_explains_what_is_wrong() {
    let (host, elita) = with_widgets().await;
    let well = elita.run(&["doctor"]).await;
    assert_eq!(well.code, 0, "{well}");
    let wrong = Elita::at(host.client.base(), "no-token").run(&["doctor"]).await;
    assert_eq!(wrong.code, 4, "{wrong}");
    assert!(wrong.stdout.contains("✗ token") && wrong.stdout.contains("try: a valid token in ELITA_TOKEN"), "{wrong}");
    insta::assert_snapshot!(shown(&Elita::new().with("ELITA_SERVER", "http://127.0.0.1:9"), "doctor").await);
}

#[tokio::test]
async fn a_certificate_that_is_not_known_is_told_from_one_for_another_name() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let elita = Elita::new();
    let (cert, key) = (elita.home().join("cert.pem"), elita.home().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let setup = Setup::default().flag("--tls-cert", cert.display()).flag("--tls-key", key.display());
    let host = setup.start().await;
    let port = host.client.base().rsplit(':').next().unwrap().to_owned();
    let elita = elita.with("ELITA_TOKEN", &host.database.token);
    let said = async |url: &str, more: &[&str]| {
        let words: Vec<&str> = ["--retry-for", "0s", "-s", url].into_iter().chain(more.iter().copied()).collect();
        elita.run(&[&words[..], &["app", "list"]].concat()).await
    };
    let (known, other) = (format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}"));
    let trusting = ["--ca-file", "cert.pem"];
    assert_eq!(said(&known, &trusting).await.code, 0);
    let unknown = said(&known, &[]).await;
    assert_eq!((unknown.code, unknown.stderr.contains("signed by itself")), (6, true), "{unknown}");
    let wrong = said(&other, &trusting).await;
    assert_eq!((wrong.code, wrong.stderr.contains("for another host name")), (6, true), "{wrong}");
    let plain = said(&format!("http://127.0.0.1:{port}"), &[]).await;
    assert_eq!(plain.code, 6, "{plain}");
}
