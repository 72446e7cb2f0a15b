//! Following never ends early, repeats nothing and leaves nothing out, whatever happens to the server and the way there.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::with_steps;
use crate::harness::{Cable, Client, Elita, PATIENCE, Said, eventually};

/// A follower with `--json`, line by line.
struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn start(elita: &Elita, arguments: &[&str]) -> Self {
        let mut child = elita.start(arguments);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line, an entry or at the end the job.
    async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it says nothing any more");
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Everything from here on: the numbers of entries, and the job.
    async fn rest(mut self, mut seen: Vec<i64>) -> (Vec<i64>, Value, i32) {
        let mut job = Value::Null;
        while let Some(line) = self.next().await {
            match line["seq"].as_i64() {
                Some(seq) => seen.push(seq),
                None => job = line,
            }
        }
        let code = self.child.wait().await.unwrap().code().unwrap();
        (seen, job, code)
    }
}

/// Follows until so many entries were seen.
async fn first(following: &mut Following, count: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let line = following.next().await.expect("it ended before the job");
        seen.push(line["seq"].as_i64().expect("an entry"));
    }
    seen
}

fn address(client: &Client) -> SocketAddr {
    client.base().strip_prefix("http://").unwrap().parse().unwrap()
}

fn from_one(seen: &[i64]) -> bool {
    seen.iter().copied().eq(1..=seen.len() as i64)
}

#[tokio::test]
async fn a_follower_outlives_a_server_that_is_killed() {
    let (host, _) = with_steps().await;
    let stopped = host.stop().await;
    let token = stopped.database.token.clone();
    let mut doomed = stopped.start_program();
    let mut cable = Cable::to_server(address(&doomed.ready(&token).await.1)).await;
    let elita = Elita::at(cable.url(), &token);

    let run = ["--json", "run", "chaos", "Again", "steps=40", "pause_ms=50"];
    let mut following = Following::start(&elita, &run);
    let seen = first(&mut following, 5).await;
    doomed.signal(rustix::process::Signal::KILL);
    doomed.ended().await;
    cable.cut();
    // Another one takes its place and, once it is sure that the first is gone, its job.
    let mut next = stopped.start_program();
    cable.lead_to(address(&next.ready(&token).await.1));
    cable.mend().await;

    let (seen, job, code) = following.rest(seen).await;
    assert!(from_one(&seen), "{seen:?}");
    assert_eq!((&job["status"], code), (&Value::from("succeeded"), 0), "{job}");
    assert_eq!(job["last_seq"].as_i64(), Some(seen.len() as i64), "nothing is missing");
    assert!(job["attempt"].as_i64() > Some(1), "it was run again: {job}");
}

#[tokio::test]
async fn a_follower_goes_on_when_its_cable_is_mended() {
    let (host, _) = with_steps().await;
    let mut cable = Cable::to_server(address(&host.client)).await;
    let elita = Elita::at(cable.url(), &host.database.token);

    let run = ["--json", "run", "chaos", "Once", "steps=60", "pause_ms=50"];
    let mut following = Following::start(&elita, &run);
    let mut seen = first(&mut following, 3).await;
    for _ in 0..3 {
        cable.cut();
        // Longer than it waits between two tries.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        cable.mend().await;
        seen.extend(first(&mut following, 3).await);
    }
    let (seen, job, code) = following.rest(seen).await;
    assert!(from_one(&seen), "{seen:?}");
    assert_eq!(job["last_seq"].as_i64(), Some(seen.len() as i64));
    assert_eq!(code, 0, "{job}");
}

#[tokio::test]
async fn a_follower_whose_token_is_revoked_says_so_at_once() {
    let (host, elita) = with_steps().await;
    let made = elita.run(&["token", "create", "short"]).await;
    assert_eq!(made.code, 0, "{made}");
    let other = Elita::at(host.client.base(), made.stdout.trim());
    let mut following = Following::start(&other, &["--json", "run", "hostile", "Ticks"]);
    first(&mut following, 1).await;
    let own = other.run(&["--json", "api", "GET", "/global/tokens/current"]).await;
    let id = serde_json::from_str::<Value>(&own.stdout).unwrap()["token_id"].as_str().unwrap().to_owned();
    assert_eq!(elita.run(&["token", "revoke", &id]).await.code, 0);
    let (seen, job, code) = following.rest(vec![1]).await;
    assert!(from_one(&seen), "{seen:?}");
    assert_eq!((job, code), (Value::Null, 4));
}

#[tokio::test]
async fn one_that_gives_up_says_that_the_job_goes_on() {
    let (host, _) = with_steps().await;
    let cable = Cable::to_server(address(&host.client)).await;
    let elita = Elita::at(cable.url(), &host.database.token);
    let following = elita.start(&["run", "hostile", "UntilCancelled", "--retry-for", "2s"]);
    eventually("the job to run", async || {
        let listed = elita.run(&["job", "list", "--status", "running", "-q"]).await;
        (!listed.stdout.is_empty()).then_some(())
    })
    .await;
    cable.cut();
    let said = Said::of(following).await;
    assert_eq!(said.code, 6, "{said}");
    assert!(said.stderr.contains("gave up after 2 s without the server. The job goes on"), "{said}");
}

#[tokio::test]
async fn the_end_of_a_long_log_is_read_without_its_beginning() {
    let (host, elita) = with_steps().await;
    let job = host.run_action("chaos", "Once", "steps=30&pause_ms=0").await;
    let id = job["job_id"].as_str().unwrap();
    let said = elita.run(&["log", id, "--tail", "3"]).await;
    let last: Vec<_> = said.stdout.lines().collect();
    assert_eq!(last.len(), 3, "{said}");
    let short = &id[28..];
    assert_eq!(elita.run(&["log", short, "--from", "2", "--to", "2"]).await.stdout.lines().count(), 1);
    assert!(elita.run(&["log", "-", "--grep", "\"step\":7}"]).await.stdout.ends_with("\"step\":7}\n"));
}
