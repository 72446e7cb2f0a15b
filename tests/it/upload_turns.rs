//! Uploads take turns: what one application uploads keeps no other application waiting.

use std::io::Write as _;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::harness::{SOON, Setup, TestHost, eventually};
use crate::uploads::{id, put, with_build, zip};

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
