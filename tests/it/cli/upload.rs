//! Uploading: once, again, another file, and over a cable that is cut.

use std::io::Write as _;
use std::process::Command;

use super::redacted;
use crate::harness::{Answer, Cable, Elita, Outside, TestHost};

/// A `tar.gz` with a file of this content, in the home of somebody.
fn archive(elita: &Elita, name: &str, content: &[u8]) {
    std::fs::write(elita.home().join("page"), content).unwrap();
    let packed = Command::new("tar").args(["-czf", name, "page"]).current_dir(elita.home()).status().unwrap();
    assert!(packed.success());
}

async fn with_shop() -> (TestHost, Elita) {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let elita = Elita::of(&host);
    (host, elita)
}

#[tokio::test]
async fn a_file_is_uploaded_once_and_the_same_one_again_succeeds() {
    let (_host, elita) = with_shop().await;
    archive(&elita, "shop.tar.gz", b"one");
    let first = elita.run(&["upload", "shop", "1", "shop.tar.gz", "--attribute", "commit=2f9c1e7"]).await;
    assert_eq!(first.code, 0, "{first}");
    assert!(first.stdout.starts_with("master\t"), "{first}");
    let again = elita.run(&["upload", "shop", "1", "shop.tar.gz"]).await;
    assert_eq!((again.code, &*again.stderr), (0, "build 1 has this file already\n"), "{again}");
    assert_eq!(again.stdout, first.stdout);
    archive(&elita, "other.tar.gz", b"two");
    let other = elita.run(&["upload", "shop", "1", "other.tar.gz"]).await;
    assert_eq!(other.code, 5, "{other}");
    insta::assert_snapshot!(redacted(&other.stderr), @r"
    elita: build 1 has another file already, and what is stored is never replaced
      stored  [digest]
      yours   [digest]
    try: another name for the build
    ");

    assert_eq!(elita.run(&["build", "files", "shop", "1"]).await.stdout, "page\n");
    assert_eq!(elita.run(&["build", "files", "shop", "1", "--grep", "*.css"]).await.stdout, "");
    let fetched = elita.run(&["build", "download", "shop", "1", "-O", "back.tar.gz"]).await;
    assert_eq!(fetched.code, 0, "{fetched}");
    let bytes = |name: &str| std::fs::read(elita.home().join(name)).unwrap();
    assert_eq!(bytes("back.tar.gz"), bytes("shop.tar.gz"));
    assert_eq!(elita.run(&["build", "list", "shop", "--stored", "-q"]).await.stdout, "1\n");
}

#[tokio::test]
async fn standard_input_is_uploaded_when_it_is_said_what_it_is() {
    let (_host, elita) = with_shop().await;
    archive(&elita, "shop.tar.gz", b"one");
    let unknown = elita.run(&["upload", "shop", "1", "-"]).await;
    assert_eq!((unknown.code, unknown.stderr.contains("--type zip, tar or tar.gz, say")), (2, true), "{unknown}");
    let mut child = elita.start(&["--json", "upload", "shop", "1", "-", "--type", "tar.gz"]);
    let mut stdin = child.stdin.take().unwrap();
    let bytes = std::fs::read(elita.home().join("shop.tar.gz")).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, &bytes).await.unwrap();
    drop(stdin);
    let said = crate::harness::Said::of(child).await;
    assert_eq!(said.code, 0, "{said}");
    let build: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(build["stored"], true, "{said}");
}

#[tokio::test]
async fn an_upload_over_a_cable_that_is_cut_is_sent_again() {
    let (host, _) = with_shop().await;
    let address = host.client.base().strip_prefix("http://").unwrap().parse().unwrap();
    let mut cable = Cable::to_server(address).await;
    let elita = Elita::at(cable.url(), &host.database.token);
    let mut noise = std::fs::File::create(elita.home().join("page")).unwrap();
    let mut word = 1_u64;
    for _ in 0..4_000_000 {
        // Nothing that gzip could make small.
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.write_all(&word.to_le_bytes()[4..]).unwrap();
    }
    drop(noise);
    let packed = Command::new("tar").args(["-czf", "big.tar.gz", "page"]).current_dir(elita.home()).status().unwrap();
    assert!(packed.success());
    let uploading = elita.start(&["upload", "shop", "1", "big.tar.gz"]);
    crate::harness::eventually("the upload to begin", async || {
        (host.client.get("/app/shop/builds/1").await.status == 200).then_some(())
    })
    .await;
    cable.cut();
    cable.mend().await;
    let said = crate::harness::Said::of(uploading).await;
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(host.client.get("/app/shop/builds/1").await.body["stored"], true);
    assert_eq!(host.client.get("/job?type=upload").await.items("name"), ["1"], "it was taken in once");
}

#[tokio::test]
async fn what_is_no_archive_fails_with_the_reason() {
    let (_host, elita) = with_shop().await;
    std::fs::write(elita.home().join("shop.zip"), b"this is not a zip").unwrap();
    let said = elita.run(&["upload", "shop", "1", "shop.zip"]).await;
    assert_eq!(said.code, 5, "{said}");
    assert!(said.stderr.contains("it was sent as `zip`, and does not begin like one"), "{said}");
    let said = elita.run(&["upload", "shop", "1", "missing.zip"]).await;
    assert_eq!((said.code, said.stderr.starts_with("elita: cannot read missing.zip: ")), (2, true), "{said}");
}

#[tokio::test]
async fn a_file_is_fetched_by_the_server_from_a_url() {
    let file = crate::uploads::as_text("a");
    let text = String::from_utf8(file.clone()).unwrap();
    let mut outside = Outside::new(Answer::Says(format!("HTTP/1.1 200 OK\r\n\r\n{text}"))).await;
    let host = crate::fetched_uploads::fetching_from(&outside).start().await;
    host.create_application("shop").await;
    let elita = Elita::of(&host);
    let url = format!("http://127.0.0.1:{}/1.zip?a=b", outside.port());
    let said = elita.run(&["upload", "shop", "1", "--url", &url]).await;
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stdout.starts_with("master\t"), "{said}");
    assert!(said.stderr.starts_with("build 1 of shop: taking the file in  job …"), "{said}");
    assert!(outside.asked()[0].starts_with("GET /1.zip?a=b HTTP/1.1\r\n"));
    let fetched = elita.run(&["build", "download", "shop", "1", "-O", "back.zip"]).await;
    assert_eq!(fetched.code, 0, "{fetched}");
    assert_eq!(std::fs::read(elita.home().join("back.zip")).unwrap(), file);

    let again = elita.run(&["upload", "shop", "1", "--url", &url]).await;
    assert_eq!((again.code, again.stderr.contains("build 1 has a file already")), (5, true), "{again}");
    assert_eq!(outside.asked().len(), 0, "it is not fetched for nothing");
    let unnamed = elita.run(&["upload", "shop", "2", "--url", "http://127.0.0.1/latest"]).await;
    assert_eq!((unnamed.code, unnamed.stderr.contains("try: --type zip")), (2, true), "{unnamed}");
    let lost = elita.run(&["upload", "shop", "2", "--url", "http://elita.invalid/2.zip"]).await;
    assert_eq!(lost.code, 1, "{lost}");
    assert!(lost.stderr.contains("✗ failed"), "{lost}");
}
