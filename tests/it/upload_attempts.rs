//! Uploads whose server dies or loses the job: the next attempt goes on, and what is stored stays as it is.

use std::time::Duration;

use elita::datasvc::{
    BuildFiles, Claim, DataSvc, Digest, Error, FileType, HostId, KeptPackage, KeptPackages, PackageFile, PackageName,
    Room, StoredBuild, WorkerId,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::fetched_uploads::fetching_from;
use crate::harness::{Answer, Outside, Setup, TestHost};
use crate::uploads::{BUILD, FILE, as_text, assert_nothing_is_left, assert_stored, id, put, with_build, zip};

#[tokio::test]
async fn an_upload_goes_on_after_its_server_was_killed() {
    // The first attempt is killed while it waits for the file.
    let file = as_text("a");
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", String::from_utf8(file.clone()).unwrap());
    let mut outside = Outside::new(Answer::SaysAfter(Duration::from_secs(2), text)).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let stopped = with_build(fetching_from(&outside)).await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let accepted = client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    outside.is_asked().await;
    program.signal(Signal::KILL);
    program.ended().await;
    let host = stopped.start().await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["attempt"], 2, "{job:#}");
    assert_stored(&host, &job, &file).await;
}

#[tokio::test]
async fn an_upload_goes_on_though_its_server_was_killed_often() {
    let host = with_build(Setup::default().flag("--role", "api")).await;
    let file = zip("a", b"b");
    let accepted = put(&host.client, FILE, file.clone()).await;
    run_and_stop(&host, 6).await;

    let host = host.stop().await.with_flag("--role", "all").start().await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(7)), "{job:#}");
    assert_stored(&host, &job, &file).await;
}

#[tokio::test]
async fn an_upload_that_stops_every_server_is_given_up() {
    let host = with_build(Setup::default().flag("--role", "api")).await;
    let accepted = put(&host.client, FILE, zip("a", b"b")).await;
    run_and_stop(&host, 20).await;

    let host = host.stop().await.with_flag("--role", "all").start().await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(21)), "{job:#}");
    let reason = "20 servers stopped while they worked on this job; it is not tried again, because it may be what stops \
                  them";
    assert_eq!(job["error"], json!({ "code": "too-many-attempts", "message": reason }));
    assert_nothing_is_left(&host).await;
    assert_eq!(put(&host.client, FILE, zip("a", b"b")).await.status, 202);
}

/// The only job is begun and handed back so many times, one after the other.
async fn run_and_stop(host: &TestHost, times: i32) {
    let svc = DataSvc::connect(&host.database.url, 2).await.unwrap();
    let worker = WorkerId::new();
    let room = Room { jobs: 1, own: 1, own_per_application: 1, per_plugin: 1, per_action: 1, ..Room::default() };
    for attempt in 1..=times {
        svc.beat(worker, HostId::new(), true).await.unwrap();
        let claim = svc.claim_jobs(worker, &room).await.unwrap().remove(0);
        assert_eq!((claim.attempt, claim.started), (attempt, true));
        svc.hand_back(worker, "this is a test").await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_lost_its_job_neither_stores_the_build_nor_gives_it_up() {
    let host = with_build(Setup::default().flag("--role", "api")).await;
    put(&host.client, FILE, zip("a", b"b")).await;
    let svc = DataSvc::connect(&host.database.url, 2).await.unwrap();
    let worker = WorkerId::new();
    svc.beat(worker, HostId::new(), true).await.unwrap();
    let room = Room { jobs: 1, own: 1, own_per_application: 1, per_plugin: 1, per_action: 1, ..Room::default() };
    let claim = svc.claim_jobs(worker, &room).await.unwrap().remove(0);
    let former = Claim { fence: claim.fence - 1, ..claim.clone() };
    let nothing =
        StoredBuild { master_file: "1.zip".into(), packages: KeptPackages::default(), files: BuildFiles::default() };

    assert!(matches!(svc.store_build(&former, &nothing).await, Err(Error::Conflict { .. })));
    assert!(matches!(svc.give_up_upload(&former).await, Err(Error::Conflict { .. })));
    assert_eq!(host.client.get(BUILD).await.body["stored"], false);

    // Its successor does, as often as it takes, and then nothing is left to be given up.
    for _ in 0..2 {
        svc.store_build(&claim, &nothing).await.unwrap();
    }
    assert!(!svc.give_up_upload(&claim).await.unwrap());
    assert_eq!(host.client.get(BUILD).await.body["stored"], true);
}

#[tokio::test]
async fn a_build_that_a_killed_server_has_stored_is_not_fetched_again() {
    let mut outside = Outside::new(Answer::Says("HTTP/1.1 200 OK\r\n\r\nother bytes".into())).await;
    let host = with_build(fetching_from(&outside).flag("--role", "api")).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let accepted = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    // A server that is killed between storing the build and the end of its job.
    let svc = DataSvc::connect(&host.database.url, 2).await.unwrap();
    let worker = WorkerId::new();
    svc.beat(worker, HostId::new(), true).await.unwrap();
    let room = Room { jobs: 1, own: 1, own_per_application: 1, per_plugin: 1, per_action: 1, ..Room::default() };
    let claim = svc.claim_jobs(worker, &room).await.unwrap().remove(0);
    let file = zip("a", b"b");
    let folder = host.storage_dir().join("builds").join(id(&accepted)).join(claim.fence.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1.zip"), &file).unwrap();
    let (size_bytes, sha256) = (file.len() as u64, Digest::of(&file).hex());
    let master = PackageFile { filename: "1.zip".into(), file_type: FileType::Zip, size_bytes, sha256 };
    let master = KeptPackage::new(master, Some(claim.fence));
    let packages = KeptPackages([(PackageName::parse("master").unwrap(), master)].into());
    let stored = StoredBuild { master_file: "1.zip".into(), packages, files: BuildFiles(vec!["a".into()]) };
    svc.store_build(&claim, &stored).await.unwrap();

    let host = host.stop().await.with_flag("--role", "all").start().await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["attempt"], 2, "{job:#}");
    assert_stored(&host, &job, &file).await;
    assert_eq!(outside.asked(), Vec::<String>::new());
    let sent = host.client.request(Method::GET, &format!("{BUILD}/packages/master")).send().await.unwrap();
    assert!(sent.bytes().await.unwrap() == file, "another file is sent");
}

#[tokio::test]
async fn what_a_killed_server_has_fetched_is_not_written_again() {
    let text = String::from_utf8(as_text("a")).unwrap();
    let outside = Outside::new(Answer::Says(format!("HTTP/1.1 200 OK\r\n\r\n{text}"))).await;
    let host = with_build(fetching_from(&outside).flag("--role", "api")).await;
    let url = format!("http://127.0.0.1:{}/", outside.port());
    let accepted = host.client.post(BUILD, &json!({ "file_type": "zip", "indirect_url": url })).await;
    // What an earlier run has brought, held open: whoever writes over it is seen.
    let earlier = host.storage_dir().join("builds").join(id(&accepted));
    std::fs::create_dir_all(earlier.join("0")).unwrap();
    for name in ["1.zip", "0/1.zip"] {
        std::fs::write(earlier.join(name), "brought before").unwrap();
    }
    let host = host.stop().await.with_flag("--role", "all").start().await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read(earlier.join("1.zip")).unwrap(), b"brought before");
    assert!(!earlier.join("0").exists(), "the files of a run that the build does not have are still there");
}

#[tokio::test]
async fn an_upload_that_was_accepted_is_not_lost_with_its_server() {
    let stopped = with_build(Setup::default().flag("--role", "api")).await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let file = zip("a", b"b");
    let accepted = put(&client, FILE, file.clone()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    program.signal(Signal::KILL);
    program.ended().await;
    let host = stopped.with_flag("--role", "all").start().await;
    assert_stored(&host, &host.ended_job(id(&accepted)).await, &file).await;
}
