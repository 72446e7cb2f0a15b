//! Uploads take turns: what one application uploads keeps no other application waiting.

use std::io::Write as _;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::fetched_uploads::fetching_from;
use crate::harness::{Answer, Outside, SOON, Setup, TestHost, eventually};
use crate::uploads::{as_text, id, put, with_build, zip};

#[tokio::test]
async fn archives_of_one_application_leave_a_place_to_others_and_are_given_up_when_they_are_cancelled() {
    let setup = Setup::default().flag("--upload-archives", 2).flag("--cancel-grace-seconds", 600);
    let host = with_build(setup.flag("--plugin-runs", 8)).await;
    host.create_application("blog").await;
    let long = takes_long();
    let mut jobs = Vec::new();
    for number in 0..2 {
        let path = format!("/app/shop/builds/long-{number}/file?file_type=tar.gz&create=true");
        let accepted = put(&host.client, &path, long.clone()).await;
        assert_eq!(accepted.status, 202, "{accepted}");
        jobs.push(id(&accepted).to_owned());
    }
    let states = async |host: &TestHost| {
        let mut states = Vec::new();
        for job in &jobs {
            states.push(host.client.get(&format!("/job/{job}")).await.body["status"].clone());
        }
        states
    };
    eventually("both to run", async || (states(&host).await == ["running", "running"]).then_some(())).await;
    let quick = put(&host.client, "/app/blog/builds/1/file?file_type=zip&create=true", zip("a", b"b")).await;
    let job = host.ended_job(id(&quick)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    // It did not have to wait for one of them.
    assert_eq!(states(&host).await, ["running", "running"]);

    let asked = Instant::now();
    for job in &jobs {
        let reply = host.client.post_empty(&format!("/job/{job}?cancel=true")).await;
        assert_eq!(reply.status, 202, "{reply}");
    }
    for job in &jobs {
        let job: Value = host.ended_job(job).await;
        assert_eq!(job["status"], "cancelled", "{job:#}");
    }
    assert!(asked.elapsed() < SOON, "they went on for {:?}", asked.elapsed());
}

#[tokio::test]
async fn uploads_that_wait_for_other_servers_leave_room_for_actions() {
    let outside = Outside::new(Answer::Drips).await;
    let host = with_build(fetching_from(&outside).flag("--plugin-runs", 4).plugins(&["misbehave"])).await;
    host.create_application("hostile").await;
    host.create_application("blog").await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let mut jobs = Vec::new();
    for build in 2..10 {
        // No application has more than half of the server's own.
        let application = if build % 2 == 0 { "shop" } else { "blog" };
        host.client.post(&format!("/app/{application}/builds"), &json!({ "build_name": build.to_string() })).await;
        let query = format!("/app/{application}/builds/{build}?file_type=zip&indirect_url={url}");
        jobs.push(id(&host.client.post_empty(&query).await).to_owned());
    }
    eventually("two to run", async || {
        let running = host.client.get("/job?status=running").await;
        (running.items("job_id").len() == 2).then_some(())
    })
    .await;
    let job = host.run_action("hostile", "Noop", "").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    for job in jobs {
        host.client.post_empty(&format!("/job/{job}?cancel=true")).await;
    }
}

#[tokio::test]
async fn uploads_of_one_application_leave_places_to_others() {
    let mut slow = Outside::new(Answer::Waits).await;
    let quick =
        Outside::new(Answer::Says(format!("HTTP/1.1 200 OK\r\n\r\n{}", String::from_utf8(as_text("a")).unwrap())))
            .await;
    let from = format!("127.0.0.1:{},127.0.0.1:{}", slow.port(), quick.port());
    let setup = Setup::default().flag("--upload-from", from).flag("--uploads", 2).flag("--plugin-runs", 4);
    let host = with_build(setup).await;
    for number in 2..8 {
        let build = format!("slow-{number}");
        host.client.post("/app/shop/builds", &json!({ "build_name": build })).await;
        let url = format!("http://127.0.0.1:{}/", slow.port());
        let fetch = json!({ "file_type": "zip", "indirect_url": url });
        assert_eq!(host.client.post(&format!("/app/shop/builds/{build}"), &fetch).await.status, 202);
    }
    slow.is_asked().await;
    host.create_application("blog").await;
    host.client.post("/app/blog/builds", &json!({ "build_name": "1" })).await;
    let url = format!("http://127.0.0.1:{}/", quick.port());
    let fetch = json!({ "file_type": "zip", "indirect_url": url });
    let accepted = host.client.post("/app/blog/builds/1", &fetch).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(slow.asked().len(), 0, "the application has more than half of the places");
}

#[tokio::test]
async fn an_upload_that_waits_for_its_turn_leaves_its_slot_to_others() {
    let mut silent = Outside::new(Answer::Waits).await;
    // Four of the eight slots are for uploads and their like, and two applications may have two of them each; each may
    // fetch one file at a time.
    let setup = fetching_from(&silent).flag("--uploads", 2).flag("--plugin-runs", 8);
    let host = with_build(setup).await;
    host.create_application("blog").await;
    let url = format!("http://127.0.0.1:{}/", silent.port());
    for application in ["shop", "blog"] {
        for number in 0..2 {
            let fetch =
                format!("/app/{application}/builds/silent-{number}?file_type=zip&create=true&indirect_url={url}");
            let accepted = host.client.post_empty(&fetch).await;
            assert_eq!(accepted.status, 202, "{accepted}");
        }
    }
    eventually("all four to run", async || {
        let running = host.client.get("/job?status=running").await;
        (running.items("job_id").len() == 4).then_some(())
    })
    .await;
    for _ in 0..2 {
        silent.is_asked().await;
    }
    host.create_application("wiki").await;
    let direct = put(&host.client, "/app/wiki/builds/1/file?file_type=zip&create=true", zip("a", b"b")).await;
    let job = host.ended_job(id(&direct)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(silent.asked().len(), 0, "more files are fetched at a time than may be");
    let running = host.client.get("/job?status=running").await;
    assert_eq!(running.items("job_id").len(), 4, "it did not have to wait for one of them: {running}");
}

/// A `tar.gz` of some megabytes with a file of 7.5 GiB: nothing but zeros, in many members of gzip.
fn takes_long() -> Vec<u8> {
    const PIECE: usize = 64 * 1024 * 1024;
    const PIECES: usize = 120;
    let member = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, "zeros");
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", PIECE * PIECES));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let piece = member(&vec![0; PIECE]);
    let mut archive = member(&header);
    for _ in 0..PIECES {
        archive.extend_from_slice(&piece);
    }
    archive.extend(member(&[0; 1024]));
    archive
}
