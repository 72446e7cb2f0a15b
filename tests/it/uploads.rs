//! Files of builds, uploaded over HTTP.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elita::datasvc::Digest;
use futures_util::stream;
use insta::{assert_json_snapshot, assert_snapshot};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fetched_uploads::fetching_from;
use crate::harness::{Answer, Client, Outside, Reply, Setup, TestHost, eventually};

pub(crate) const BUILD: &str = "/app/shop/builds/1";
/// Where the file of that build is uploaded to.
pub(crate) const FILE: &str = "/app/shop/builds/1/file?file_type=zip";

#[tokio::test]
async fn a_file_is_stored_bit_for_bit() {
    let host = with_build(Setup::default()).await;
    // More than is written at a time, and no multiple of it.
    let noise: Vec<u8> = (0..9_000_001_u32).flat_map(|n| [n.wrapping_mul(2_654_435_761).to_be_bytes()[0]]).collect();
    let file = zip("noise", &noise);
    let accepted = put(&host.client, FILE, file.clone()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    assert_eq!(accepted.header("location"), accepted.body["location"], "{accepted}");
    let job = host.ended_job(id(&accepted)).await;
    assert_json_snapshot!(job["data"], { ".sha256" => "[sha256]" }, @r#"
    {
      "build_name": "1",
      "file_type": "zip",
      "filename": "1.zip",
      "size_bytes": 9000109,
      "sha256": "[sha256]"
    }
    "#);
    assert_stored(&host, &job, &file).await;
}

#[tokio::test]
async fn a_file_without_a_length_is_taken_as_well() {
    let host = with_build(Setup::default()).await;
    let file = zip("a", b"b");
    let pieces: Vec<_> = file.chunks(10).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let accepted = put(&host.client, FILE, Body::wrap_stream(stream::iter(pieces))).await;
    assert_stored(&host, &host.ended_job(id(&accepted)).await, &file).await;
}

#[tokio::test]
async fn a_file_is_taken_in_a_form() {
    let host = with_build(Setup::default()).await;
    let file = zip("a", &[7; 3_000_000]);
    let form = Form::new().text("file_type", "zip").part("build", Part::bytes(file.clone()).file_name("../evil"));
    let accepted = host.client.send(host.client.request(Method::POST, BUILD).multipart(form)).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    assert_stored(&host, &host.ended_job(id(&accepted)).await, &file).await;
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_and_leaves_nothing() {
    let host = with_build(Setup::default()).await;
    let file = || Part::bytes(zip("a", b"b"));
    let url = "https://example.org/1.zip";
    for (query, form, status, detail) in [
        ("", Form::new().part("build", file()).text("file_type", "zip"), 422, "in the query string"),
        ("?file_type=zip", Form::new().part("build", file()).text("a", "b"), 422, "in the query string"),
        (
            "?file_type=zip",
            Form::new().text("file_type", "tar.gz").part("build", file()),
            400,
            "one value in the query",
        ),
        ("?file_type=zip", Form::new().text("a", "b").part("build", file()), 400, "not known here: `a`"),
        ("?file_type=rar", Form::new().part("build", file()), 422, "file_type"),
        ("?file_type=zip", Form::new().text("package_map", "no"), 400, "neither a part `build`"),
        ("?file_type=zip&package_map=no", Form::new().part("build", file()), 404, "package map `no`"),
        ("?file_type=zip", Form::new().text("indirect_url", url).part("build", file()), 400, "not both"),
        ("?file_type=zip", Form::new().text("a", "b".repeat(2 << 20)), 413, "besides the file"),
    ] {
        let path = format!("{BUILD}{query}");
        let reply = host.client.send(host.client.request(Method::POST, &path).multipart(form)).await;
        let found = reply.body["detail"].as_str().unwrap_or_default();
        assert!(reply.status == status && found.contains(detail), "{query} {detail}: {reply}");
    }
    let cut = "--x\r\nContent-Disposition: form-data; name=\"build\"\r\n\r\nPK";
    let request = host.client.request(Method::POST, &format!("{BUILD}?file_type=zip")).body(cut);
    let reply = host.client.send(request.header("content-type", "multipart/form-data; boundary=x")).await;
    assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{reply}");
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn what_is_no_upload_is_refused() {
    let host = with_build(Setup::default()).await;
    for (path, status, detail) in [
        ("/app/shop/builds/1/file?file_type=rar", 422, "file_type"),
        ("/app/shop/builds/1/file?file_type=zip&create=yes", 422, "create"),
        ("/app/shop/builds/1/file?file_type=zip&a=b", 400, "not known here"),
        ("/app/shop/builds/1/file?file_type=zip&package_map=no", 404, "package map `no` does not exist"),
        ("/app/shop/builds/2/file?file_type=zip", 404, "build `2` does not exist"),
        ("/app/blog/builds/1/file?file_type=zip", 404, "application `blog` does not exist"),
        ("/app/blog/builds/1/file?create=true", 404, "application `blog` does not exist"),
    ] {
        let reply = put(&host.client, path, zip("a", b"b")).await;
        let found = reply.body["detail"].as_str().unwrap_or_default();
        assert!(reply.status == status && found.contains(detail), "{path}: {reply}");
    }
    for (header, value, status) in
        [("content-encoding", "gzip", 415), ("content-range", "bytes 0-1/2", 400), ("idempotency-key", "", 400)]
    {
        let request = host.client.request(Method::PUT, FILE).header(header, value).body("ab");
        assert_eq!(host.client.send(request).await.status, status, "{header}");
    }
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn what_does_not_begin_like_its_type_is_refused_at_once() {
    let host = with_build(Setup::default()).await;
    let page = b"<!DOCTYPE html><title>Log in</title>".to_vec();
    let tar_gz = "/app/shop/builds/1/file?file_type=tar.gz";
    for (path, file, why) in [
        (FILE, Vec::new(), "it is empty"),
        (FILE, page.clone(), "looks like a page in HTML"),
        (FILE, [page, vec![b' '; 9_000_000]].concat(), "looks like a page in HTML"),
        (tar_gz, zip("a", b"x"), "was sent as `tar.gz`, and looks like `zip`"),
        ("/app/shop/builds/1/file?file_type=tar", vec![b'x'; 600], "does not begin like one"),
        ("/app/shop/builds/1/file", vec![b'x'; 600], "does not begin like a zip or a tar"),
        ("/app/shop/builds/1/file", b"7z\xbc\xaf\x27\x1c".to_vec(), "looks like an archive of 7-Zip"),
        ("/app/shop/builds/1/file", Vec::new(), "it is empty"),
    ] {
        let reply = put(&host.client, path, file).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid-archive")), "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().contains(why), "{why}: {reply}");
    }
    let form = Form::new().text("file_type", "zip").part("build", Part::bytes(b"{}".to_vec()));
    let reply = host.client.send(host.client.request(Method::POST, BUILD).multipart(form)).await;
    assert_eq!(reply.status, 422, "{reply}");
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn a_file_at_the_wrong_door_is_shown_the_right_one() {
    let host = with_build(Setup::default()).await;
    let form = || Form::new().text("file_type", "zip").part("build", Part::bytes(zip("a", b"b")));
    let post = |content_type: &str| {
        let request = host.client.request(Method::POST, &format!("{BUILD}?file_type=zip"));
        request.header("content-type", content_type).body(zip("a", b"\xff"))
    };
    let (by_form, by_put) = ("`POST /app/{app}/builds/{build}`", "`PUT /app/{app}/builds/{build}/file`");
    for (request, status, why) in [
        (host.client.request(Method::PUT, FILE).multipart(form()), 415, by_form),
        (post("application/zip"), 415, by_put),
        (post("application/octet-stream"), 415, by_put),
        // So `curl --data-binary` sends it.
        (post("application/x-www-form-urlencoded"), 400, by_put),
        (
            host.client.request(Method::POST, BUILD).header("content-encoding", "gzip").multipart(form()),
            415,
            "Content-Encoding",
        ),
    ] {
        let reply = host.client.send(request).await;
        assert!(reply.status == status && reply.to_string().contains(why), "{why}: {reply}");
    }
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn every_type_of_file_is_taken() {
    let host = with_build(Setup::default()).await;
    for (number, (file_type, given, flag)) in [
        ("tar", "tar", "-c"),
        ("tar.gz", "tar.gz", "-cz"),
        ("tar.bz2", "tar.bz2", "-cj"),
        ("tar.xz", "tar.xz", "-cJ"),
        ("tar.zst", "tar.zst", "-c --zstd"),
        ("zip", "jar", ""),
        // As names of files end.
        ("tar.gz", "tgz", "-cz"),
        ("tar.gz", "TAR.GZ", "-cz"),
        ("tar.bz2", "tbz2", "-cj"),
        ("tar.xz", "txz", "-cJ"),
        ("tar.zst", "tzst", "-c --zstd"),
        // The file says it.
        ("tar", "", "-c"),
        ("tar.gz", "", "-cz"),
        ("tar.bz2", "", "-cj"),
        ("tar.xz", "", "-cJ"),
        ("tar.zst", "", "-c --zstd"),
        ("zip", "", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let build = format!("of-type-{number}");
        host.client.post("/app/shop/builds", &json!({ "build_name": build })).await;
        let file = match file_type {
            "zip" => zip("META-INF/MANIFEST.MF", b""),
            _ => {
                let tar = Command::new("tar")
                    .args(flag.split(' '))
                    .args(["-C", env!("CARGO_MANIFEST_DIR"), "Cargo.toml"])
                    .output()
                    .unwrap();
                assert!(tar.status.success(), "{tar:?}");
                tar.stdout
            }
        };
        let given = if given.is_empty() { String::new() } else { format!("?file_type={given}") };
        let accepted = put(&host.client, &format!("/app/shop/builds/{build}/file{given}"), file).await;
        let job = host.ended_job(id(&accepted)).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let master = &job["result"]["packages"]["master"];
        assert_eq!(
            (&master["file_type"], &master["filename"]),
            (&json!(file_type), &json!(format!("{build}.{file_type}"))),
            "{given}"
        );
    }
}

#[tokio::test]
async fn a_build_is_created_with_its_file_if_that_is_asked_for() {
    let text = String::from_utf8(as_text("fetched")).unwrap();
    let outside = Outside::new(Answer::Says(format!("HTTP/1.1 200 OK\r\n\r\n{text}"))).await;
    let host = with_build(fetching_from(&outside)).await;
    let page = put(&host.client, "/app/shop/builds/2/file?create=true", b"<html>".to_vec()).await;
    assert_eq!(page.status, 422, "{page}");
    assert_eq!(host.client.get("/app/shop/builds/2").await.status, 404, "what is refused makes no build");
    let reader = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    assert_eq!(put(&reader, "/app/shop/builds/2/file?create=true", zip("a", b"b")).await.status, 403);

    let by_put = put(&host.client, "/app/shop/builds/2/file?create=true", zip("a", b"put")).await;
    let form = Form::new().text("create", "true").part("build", Part::bytes(zip("a", b"form")));
    let by_form = host.client.send(host.client.request(Method::POST, "/app/shop/builds/3").multipart(form)).await;
    let url = format!("http://127.0.0.1:{}/files/shop.ZIP?token=x", outside.port());
    let fetched = host.client.post("/app/shop/builds/4", &json!({ "indirect_url": url, "create": true })).await;
    // One that is there is no obstacle.
    let there = put(&host.client, "/app/shop/builds/1/file?create=true", zip("a", b"there")).await;
    for (name, accepted) in [("2", by_put), ("3", by_form), ("4", fetched), ("1", there)] {
        assert_eq!(accepted.status, 202, "{accepted}");
        assert_eq!(host.ended_job(id(&accepted)).await["status"], "succeeded");
        let build = host.client.get(&format!("/app/shop/builds/{name}")).await.body;
        assert_eq!((&build["stored"], &build["master_file"]), (&json!(true), &json!(format!("{name}.zip"))), "{build}");
    }
    let created = host.client.get("/global/audit?operation=builds.create").await;
    assert_eq!(created.items("name"), ["4", "3", "2", "1"]);
    let again = put(&host.client, "/app/shop/builds/2/file?create=true", zip("a", b"other")).await;
    assert_eq!(again.status, 409, "what is stored is not replaced: {again}");
    let url = format!("http://127.0.0.1:{}/files/latest", outside.port());
    let unknown = host.client.post("/app/shop/builds/5", &json!({ "indirect_url": url, "create": true })).await;
    assert_eq!((unknown.status, unknown.fault().1), (422, "/file_type"), "{unknown}");
    assert_eq!(host.client.get("/app/shop/builds/5").await.status, 404);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_and_leaves_nothing() {
    let host = with_build(Setup::default().flag("--upload-bytes", 5_000_000)).await;
    let declared = put(&host.client, FILE, vec![0; 5_000_001]).await;
    let pieces = stream::iter((0..501).map(|_| Ok::<_, std::io::Error>(b"PK\x03\x04".repeat(2500))));
    let chunked = put(&host.client, FILE, Body::wrap_stream(pieces)).await;
    let form = Form::new().text("file_type", "zip").part("build", Part::bytes(b"PK\x03\x04\0".repeat(1_000_001)));
    let in_form = host.client.send(host.client.request(Method::POST, BUILD).multipart(form)).await;
    for reply in [declared, chunked, in_form] {
        assert_eq!((reply.status, &reply.body["code"]), (413, &json!("too-large")), "{reply}");
        assert_eq!(reply.body["detail"], "at most 5000000 bytes are taken as a build's file");
    }
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn a_file_that_says_it_is_too_large_is_not_read() {
    let host = with_build(Setup::default().flag("--upload-bytes", 1000)).await;
    let mut stream = begin(&host, FILE, "content-length: 1001\r\n").await;
    assert!(reply_on(&mut stream).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_and_may_come_again() {
    let host = with_build(Setup::default()).await;
    let mut stream = begin(&host, FILE, "content-length: 9000000\r\n").await;
    stream.write_all(&b"PK\x03\x04\0".repeat(1_700_000)).await.unwrap();
    eventually("the file to come in", async || (bytes_in(&host) >= 8 << 20).then_some(())).await;
    drop(stream);
    assert_nothing_is_left(&host).await;
    let file = zip("a", b"b");
    let again = put(&host.client, FILE, file.clone()).await;
    assert_stored(&host, &host.ended_job(id(&again)).await, &file).await;
}

#[tokio::test]
async fn a_file_that_drips_is_given_up() {
    let host = with_build(Setup::default().flag("--http-body-seconds", 1)).await;
    let mut silent = begin(&host, FILE, "content-length: 1000\r\n").await;
    let (mut stream, mut writer) = begin(&host, FILE, "transfer-encoding: chunked\r\n").await.into_split();
    // It never stops for as long as is allowed, and would go on for ever.
    let drip = tokio::spawn(async move {
        while writer.write_all(b"1\r\na\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut reply = vec![0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(String::from_utf8(reply).unwrap(), "HTTP/1.1 408");
    assert!(reply_on(&mut silent).await.starts_with("HTTP/1.1 408 "));
    drip.abort();
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn a_file_that_takes_its_time_is_waited_for() {
    let host = with_build(Setup::default().flag("--http-body-seconds", 1)).await;
    let file = zip("a", &[7; 40_000]);
    let pieces: Vec<_> = file.chunks(10_000).map(<[u8]>::to_vec).collect();
    // Half a second each, and so longer than any other body may take.
    let slow = stream::unfold(pieces.into_iter(), async |mut left| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Some((Ok::<_, std::io::Error>(left.next()?), left))
    });
    let accepted = put(&host.client, FILE, Body::wrap_stream(slow)).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    assert_stored(&host, &host.ended_job(id(&accepted)).await, &file).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_the_upload() {
    let host = with_build(Setup::default()).await;
    let ada = host.guest(&json!({ "apps": { "shop": "read/write" } })).await;
    let token = ada.request(Method::GET, "/").build().unwrap().headers()["authorization"].to_str().unwrap().to_owned();
    let mut stream = begin_as(&host, &token, FILE, "content-length: 1000\r\n").await;
    stream.write_all(&beginning()).await.unwrap();
    eventually("the upload to begin", async || (!folders_in(&host).is_empty()).then_some(())).await;
    assert_eq!(ada.delete("/global/tokens/current").await.status, 204);
    assert!(reply_on(&mut stream).await.starts_with("HTTP/1.1 401 "));
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn uploads_that_come_in_are_bounded() {
    let host = with_build(Setup::default().flag("--uploads", 1)).await;
    let mut first = begin(&host, FILE, "content-length: 1000\r\n").await;
    first.write_all(&beginning()).await.unwrap();
    eventually("the upload to begin", async || (!folders_in(&host).is_empty()).then_some(())).await;
    let second = put(&host.client, FILE, zip("a", b"b")).await;
    assert_eq!((second.status, &second.body["code"]), (503, &json!("busy")), "{second}");
    assert_ne!(second.header("retry-after"), "");
}

#[tokio::test]
async fn a_digest_that_is_given_is_checked() {
    let host = with_build(Setup::default()).await;
    let file = zip("a", b"b");
    let digest = |of: &[u8]| format!("sha-256=:{}:", STANDARD.encode(Digest::of(of).as_bytes()));
    for (header, value) in [
        ("content-digest", digest(b"another")),
        ("repr-digest", digest(b"another")),
        ("content-digest", "sha-256=none".into()),
    ] {
        let request = host.client.request(Method::PUT, FILE).header(header, &value).body(file.clone());
        let reply = host.client.send(request).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{header}: {value}: {reply}");
    }
    assert_nothing_is_left(&host).await;
    for (header, value) in [
        ("content-digest", "sha-512=:AAAA:".to_owned()),
        ("content-digest", digest(b"another").replace("sha", "SHA")),
        ("digest", format!("SHA-256={}", STANDARD.encode(Digest::of(b"another").as_bytes()))),
        ("x-checksum-sha256", Digest::of(b"another").hex()),
        ("x-amz-content-sha256", Digest::of(b"another").hex()),
        ("x-amz-checksum-sha256", STANDARD.encode(Digest::of(b"another").as_bytes())),
        ("x-amz-checksum-crc32", "AAAAAA==".into()),
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==".into()),
    ] {
        let request = host.client.request(Method::PUT, FILE).header(header, &value).body(file.clone());
        let reply = host.client.send(request).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{header}: {value}: {reply}");
    }
    let form = Form::new().text("file_type", "zip").part("build", Part::bytes(file.clone()));
    let request = host.client.request(Method::POST, BUILD).header("content-digest", digest(&file)).multipart(form);
    assert_eq!(host.client.send(request).await.status, 400);
    let right = format!("sha-512=:AAAA:, {}", digest(&file));
    let request = host.client.request(Method::PUT, FILE).header("content-digest", right).body(file.clone());
    let accepted = host.client.send(request).await;
    assert_stored(&host, &host.ended_job(id(&accepted)).await, &file).await;
}

#[tokio::test]
async fn a_right_digest_is_taken_in_each_form() {
    let host = with_build(Setup::default()).await;
    let file = zip("a", b"b");
    let (hex, base64) = (Digest::of(&file).hex(), STANDARD.encode(Digest::of(&file).as_bytes()));
    for (number, (header, value)) in [
        ("content-digest", format!("SHA-256=:{base64}:")),
        ("repr-digest", format!("sha-256=:{base64}:")),
        ("digest", format!("SHA-256={base64}")),
        ("digest", format!("md5=XUFAKrxLKna5cZ2REBfFkg==,sha-256={base64}")),
        ("x-checksum-sha256", hex.to_uppercase()),
        ("x-amz-content-sha256", hex),
        ("x-amz-checksum-sha256", base64),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/app/shop/builds/right-{number}/file?file_type=zip&create=true");
        let request = host.client.request(Method::PUT, &path).header(*header, value).body(file.clone());
        let accepted = host.client.send(request).await;
        assert_eq!(accepted.status, 202, "{header}: {value}: {accepted}");
    }
}

#[tokio::test]
async fn a_digest_is_refused_where_the_body_is_not_the_file() {
    let host = with_build(Setup::default()).await;
    let body = json!({ "indirect_url": "https://files.example.com/a.zip" });
    let (hex, base64) = (Digest::of(b"a").hex(), STANDARD.encode(Digest::of(b"a").as_bytes()));
    for (header, value) in [
        ("content-digest", format!("sha-256=:{base64}:")),
        ("digest", format!("SHA-256={base64}")),
        ("x-checksum-sha256", hex),
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==".into()),
    ] {
        let json = host.client.request(Method::POST, BUILD).header(header, &value).json(&body);
        let form = Form::new().text("indirect_url", "https://files.example.com/a.zip");
        let form = host.client.request(Method::POST, BUILD).header(header, &value).multipart(form);
        for request in [json, form] {
            let reply = host.client.send(request).await;
            assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{header}: {reply}");
            assert!(reply.body["detail"].as_str().unwrap().contains(header), "{reply}");
        }
    }
    assert_eq!(host.client.get("/job").await.items("job_id"), [""; 0]);
}

#[tokio::test]
async fn of_two_uploads_at_once_one_wins() {
    // Without a worker the first stays in the queue.
    let host = with_build(Setup::default().flag("--role", "api")).await;
    let put = async |content: &[u8]| put(&host.client, FILE, zip("a", content)).await;
    let (one, other, third) = tokio::join!(put(b"one"), put(b"two"), put(b"three"));
    let mut statuses = [one.status, other.status, third.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409], "{one} {other} {third}");
    let late = put(b"four").await;
    assert_eq!(late.status, 409, "{late}");
    assert_snapshot!(late.body["detail"].as_str().unwrap(), @"another upload of build `1` goes on; wait until it has ended");
    eventually("the files of the others to go", async || (folders_in(&host).len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_build_that_is_stored_takes_no_other_file() {
    let host = with_build(Setup::default()).await;
    let first = put(&host.client, FILE, zip("a", b"one")).await;
    host.ended_job(id(&first)).await;
    let before = host.client.get(BUILD).await.body;
    let second = put(&host.client, FILE, zip("a", b"two")).await;
    assert_eq!(second.status, 409, "{second}");
    assert_snapshot!(second.body["detail"].as_str().unwrap(), @"build `1` is stored, and what is stored is never replaced");
    let mut unread = begin(&host, FILE, "content-length: 1000000\r\n").await;
    assert!(reply_on(&mut unread).await.starts_with("HTTP/1.1 409 "));
    assert_eq!(host.client.get(BUILD).await.body, before);
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_key_gets_the_same_job() {
    let host = with_build(Setup::default()).await;
    let put = async |file: Vec<u8>| {
        let request = host.client.request(Method::PUT, FILE).header("idempotency-key", "once").body(file);
        host.client.send(request).await
    };
    let first = put(zip("a", b"one")).await;
    let again = put(zip("a", b"one")).await;
    assert_eq!((again.status, id(&again)), (202, id(&first)), "{again}");
    host.ended_job(id(&first)).await;
    // Also once the build is stored.
    let again = put(zip("a", b"one")).await;
    assert_eq!((again.status, id(&again)), (202, id(&first)), "{again}");
    let other = put(zip("a", b"two")).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency-key-reused")), "{other}");

    // The text of a form is never the same.
    host.client.post("/app/shop/builds", &json!({ "build_name": "2" })).await;
    let post = async || {
        let form = Form::new().text("file_type", "zip").part("build", Part::bytes(zip("a", b"one")));
        let request = host.client.request(Method::POST, "/app/shop/builds/2").header("idempotency-key", "form");
        host.client.send(request.multipart(form)).await
    };
    let (first, again) = (post().await, post().await);
    assert_eq!((again.status, id(&again)), (202, id(&first)), "{again}");
    eventually("the files of the others to go", async || (folders_in(&host).len() == 2).then_some(())).await;
}

#[tokio::test]
async fn an_upload_that_is_cancelled_leaves_the_build_free() {
    let mut outside = Outside::new(Answer::Waits).await;
    let host = with_build(fetching_from(&outside)).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let fetching = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    outside.is_asked().await;
    let in_the_way = [
        put(&host.client, FILE, zip("a", b"b")).await,
        host.client.delete(BUILD).await,
        host.client.delete("/app/shop").await,
    ];
    for reply in in_the_way {
        assert_eq!(reply.status, 409, "{reply}");
    }
    host.client.post_empty(&format!("/job/{}?cancel=true", id(&fetching))).await;
    assert_eq!(host.ended_job(id(&fetching)).await["status"], "cancelled");
    outside.is_left().await;
    assert_nothing_is_left(&host).await;
    let file = zip("a", b"b");
    let next = put(&host.client, FILE, file.clone()).await;
    assert_stored(&host, &host.ended_job(id(&next)).await, &file).await;
}

#[tokio::test]
async fn an_upload_that_is_cancelled_in_the_queue_leaves_no_file() {
    let host = with_build(Setup::default().flag("--role", "api")).await;
    let queued = put(&host.client, FILE, zip("a", b"b")).await;
    let cancelled = host.client.post_empty(&format!("/job/{}?cancel=true", id(&queued))).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled}");
    assert_nothing_is_left(&host).await;
    assert_eq!(put(&host.client, FILE, zip("a", b"b")).await.status, 202);
}

#[tokio::test]
async fn the_files_of_a_build_go_with_it() {
    let host = with_build(Setup::default()).await;
    let accepted = put(&host.client, FILE, zip("a", b"b")).await;
    host.ended_job(id(&accepted)).await;
    assert_eq!(folders_in(&host).len(), 1);
    assert_eq!(host.client.delete(BUILD).await.status, 204);
    assert_nothing_is_left(&host).await;
}

#[tokio::test]
async fn the_files_of_a_build_that_a_plugin_removes_go_with_it() {
    let host = TestHost::with_plugins(&["exercise-all"]).await;
    host.create_application("exercise").await;
    host.client.post("/app/exercise/builds", &json!({ "build_name": "gone" })).await;
    let accepted = put(&host.client, "/app/exercise/builds/gone/file?file_type=zip", zip("a", b"b")).await;
    host.ended_job(id(&accepted)).await;
    assert_eq!(folders_in(&host).len(), 1);
    let job = host.run_action("exercise", "Everything", "").await;
    assert_eq!(job["result"]["builds.delete"], Value::Null, "{job:#}");
    assert_eq!(host.client.get("/app/exercise/builds/gone").await.status, 404);
    assert_eq!(folders_in(&host), Vec::<String>::new());
}

#[tokio::test]
async fn files_that_no_build_has_are_swept_once_they_are_old() {
    let mut outside = Outside::new(Answer::Waits).await;
    let host = with_build(fetching_from(&outside)).await;
    let accepted = put(&host.client, FILE, zip("a", b"b")).await;
    let stored = id(&accepted).to_owned();
    host.ended_job(&stored).await;
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    let builds = host.storage_dir().join("builds");
    let orphan = "01890000-0000-7000-8000-000000000001";
    let (fresh, growing) = ("01890000-0000-7000-8000-000000000002", "01890000-0000-7000-8000-000000000003");
    for folder in [orphan, fresh, growing, "not-an-upload"] {
        std::fs::create_dir_all(builds.join(folder).join("1")).unwrap();
        std::fs::write(builds.join(folder).join("1/1.zip#1"), "PK").unwrap();
    }
    for old in [&stored, orphan, "not-an-upload"] {
        let files = files_in(&builds.join(old));
        let folders = [builds.join(old).join("1"), builds.join(old)].into_iter().filter(|folder| folder.exists());
        for path in files.into_iter().chain(folders) {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
    }
    for path in [builds.join(growing).join("1"), builds.join(growing)] {
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    // Another upload, which is in nobody's way.
    host.client.post("/app/shop/builds", &json!({ "build_name": "2" })).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let fetching = json!({ "file_type": "zip", "indirect_url": url });
    assert_eq!(host.client.post("/app/shop/builds/2", &fetching).await.status, 202);
    outside.is_asked().await;
    let host = host.restart().await;
    eventually("the orphan to be swept", async || (!builds.join(orphan).exists()).then_some(())).await;
    let mut left = folders_in(&host);
    left.sort();
    let mut expected = vec![stored, fresh.into(), growing.into(), "not-an-upload".into()];
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn memory_stays_flat_however_large_a_file_is() {
    let stopped = with_build(Setup::default().flag("--role", "api")).await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let before = program.peak_memory_kib();
    let pieces = || stream::iter((0..400).map(|_| Ok::<_, std::io::Error>(b"PK\x03\x04".repeat(1 << 18))));
    let raw = put(&client, FILE, Body::wrap_stream(pieces())).await;
    assert_eq!(raw.status, 202, "{raw}");
    client.post("/app/shop/builds", &json!({ "build_name": "2" })).await;
    let form = Form::new().text("file_type", "zip").part("build", Part::stream(Body::wrap_stream(pieces())));
    let in_form = client.send(client.request(Method::POST, "/app/shop/builds/2").multipart(form)).await;
    assert_eq!(in_form.status, 202, "{in_form}");
    let grown = program.peak_memory_kib() - before;
    assert!(grown < 64 * 1024, "two files of 400 MiB made it grow by {grown} KiB");
}

#[tokio::test]
async fn memory_stays_bounded_however_many_files_are_in_an_archive() {
    let host = with_build(Setup::default().flag("--role", "api")).await;
    let map = json!({ "name": "all", "packages": { "all": { "patterns": ["**"] } } });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let stopped = host.stop().await.with_flag("--role", "all");
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    \
                  for n in range(190000): z.writestr(f'tree/directory-{n % 100}/some-file-{n:06}.html', str(n))";
    assert!(Command::new("python3").args(["-c", script]).arg(file.path()).status().unwrap().success());
    let before = program.peak_memory_kib();
    let path = format!("{FILE}&package_map=all");
    let accepted = put(&client, &path, std::fs::read(file.path()).unwrap()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = loop {
        let job = client.get(&format!("{}?wait=60", accepted.header("location"))).await.body;
        if job["status"] != "queued" && job["status"] != "running" {
            break job;
        }
    };
    assert_eq!((&job["status"], &job["result"]["files"]), (&json!("succeeded"), &json!(190_000)), "{job:#}");
    let grown = (program.peak_memory_kib() - before) / 1024;
    assert!(grown < 256, "an archive of 190,000 files made it grow by {grown} MiB");
}

pub(crate) async fn with_build(setup: Setup) -> TestHost {
    let host = setup.start().await;
    host.create_application("shop").await;
    let reply = host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(reply.status, 201, "{reply}");
    host
}

pub(crate) async fn put(client: &Client, path: &str, body: impl Into<Body>) -> Reply {
    client.send(client.request(Method::PUT, path).body(body)).await
}

/// The id of the job that an upload has become.
pub(crate) fn id(accepted: &Reply) -> &str {
    accepted.body["job_id"].as_str().unwrap_or_else(|| panic!("{accepted}"))
}

/// Begins a PUT whose body is still to be sent.
async fn begin(host: &TestHost, path: &str, headers: &str) -> TcpStream {
    begin_as(host, &format!("Bearer {}", host.database.token), path, headers).await
}

/// As much of a zip as it takes to see what it is: then it is begun in the store.
fn beginning() -> Vec<u8> {
    [&b"PK\x03\x04"[..], &[0; 508]].concat()
}

async fn begin_as(host: &TestHost, authorization: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host.client.base().strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: elita\r\nauthorization: {authorization}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn reply_on(stream: &mut TcpStream) -> String {
    let mut head = [0; 64];
    let length = stream.read(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

/// Fails unless the job has succeeded and its build has this file, and no other.
pub(crate) async fn assert_stored(host: &TestHost, job: &Value, file: &[u8]) {
    assert_eq!((&job["status"], &job["job_type"], &job["name"]), (&json!("succeeded"), &json!("upload"), &json!("1")));
    let build = host.client.get(BUILD).await.body;
    let sha256 = Digest::of(file).hex();
    let master = json!({ "filename": "1.zip", "file_type": "zip", "size_bytes": file.len(), "sha256": sha256 });
    assert_eq!((&build["stored"], &build["master_file"]), (&json!(true), &json!("1.zip")), "{build}");
    assert_eq!(build["packages"], json!({ "master": master }));
    assert_eq!(job["result"]["packages"], build["packages"]);
    assert_eq!(job["job_data"].as_array().unwrap().last().unwrap()["data"]["status"], "stored", "{job:#}");
    let stored = files_in(&host.storage_dir().join("builds"));
    // Beside it is kept what git would call its contents, unless its server died before that.
    let (trees, stored): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|file| file.extension() == Some("tree".as_ref()));
    assert!(trees.len() <= 1 && stored.len() == 1, "{trees:?} {stored:?}");
    assert!(std::fs::read(&stored[0]).unwrap() == file, "the stored file is another one");
}

/// Waits until nothing of any upload is in the store, and makes sure that the build is as it was, if it is there.
pub(crate) async fn assert_nothing_is_left(host: &TestHost) {
    eventually("all files to go", async || folders_in(host).is_empty().then_some(())).await;
    let build = host.client.get(BUILD).await;
    assert!(build.status == 404 || build.body["stored"] == false, "{build}");
}

/// The folders of uploads.
fn folders_in(host: &TestHost) -> Vec<String> {
    let entries = std::fs::read_dir(host.storage_dir().join("builds")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// How much of files is there.
fn bytes_in(host: &TestHost) -> u64 {
    // They may go meanwhile.
    files_in(&host.storage_dir().join("builds")).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// All files below a directory.
pub(crate) fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files
}

/// An archive with one file, as it is.
pub(crate) fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    let named = u16::try_from(name.len()).unwrap().to_le_bytes();
    let about =
        [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &crc32(content).to_le_bytes(), &length, &length, &named].concat();
    let local = [&b"PK\x03\x04"[..], &about, &[0; 2], name.as_bytes(), content].concat();
    let central = [&b"PK\x01\x02\x14\0"[..], &about, &[0; 16], name.as_bytes()].concat();
    let (at, size) = (local.len() as u32, central.len() as u32);
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &size.to_le_bytes(), &at.to_le_bytes(), &[0; 2]].concat();
    [local, central, end].concat()
}

/// An archive with one empty file, whose bytes are text.
pub(crate) fn as_text(name: &str) -> Vec<u8> {
    zip(name, b"")
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let table: Vec<u32> = (0..256).map(|byte| (0..8).fold(byte, step)).collect();
    !bytes.iter().fold(!0, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8)
}
