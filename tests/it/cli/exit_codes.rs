//! The exit codes are those of the table.

use rustix::process::{Pid, Signal, kill_process};

use super::{with_steps, with_widgets};
use crate::harness::{Elita, Said, eventually};

#[tokio::test]
async fn the_exit_code_is_what_became_of_the_job_or_why_there_is_none() {
    let (host, elita) = with_steps().await;
    let code = async |arguments: &[&str]| elita.run(arguments).await.code;

    assert_eq!(code(&["run", "hostile", "Noop"]).await, 0, "succeeded");
    assert_eq!(code(&["run", "hostile", "Fail"]).await, 1, "failed");
    assert_eq!(code(&["run", "hostile"]).await, 2, "no action");
    assert_eq!(code(&["run", "hostile", "Noop", "--no-such-flag"]).await, 2, "no such flag");
    assert_eq!(code(&["run", "hostile", "NoSuchAction"]).await, 5, "404");
    assert_eq!(code(&["app", "create", "hostile"]).await, 5, "409");
    assert_eq!(code(&["job", "list", "--status", "perhaps"]).await, 5, "422");
    let silent = ["--retry-for", "0s", "--server", "http://127.0.0.1:9", "app", "list"];
    assert_eq!(code(&silent).await, 6, "nothing answers");
    let nobody = Elita::at(host.client.base(), "no-token");
    assert_eq!(nobody.run(&["app", "list"]).await.code, 4, "401");
    assert_eq!(code(&["run", "hostile", "UntilCancelled", "--timeout", "1s"]).await, 124, "--timeout");
    let stopped = code(&["run", "hostile", "UntilCancelled", "--timeout", "1s", "--cancel-on-timeout"]).await;
    assert_eq!(stopped, 124, "--timeout, after the job has ended");
}

#[tokio::test]
async fn a_cancelled_job_ends_its_follower_with_3() {
    let (_host, elita) = with_steps().await;
    let following = elita.start(&["run", "hostile", "UntilCancelled"]);
    eventually("the job to run", async || {
        let listed = elita.run(&["job", "list", "--status", "running", "-q"]).await;
        (!listed.stdout.is_empty()).then_some(())
    })
    .await;
    let cancelled = elita.run(&["job", "cancel", "-", "--wait"]).await;
    assert_eq!(cancelled.code, 0, "that it ends so is what was wanted: {cancelled}");
    let said = Said::of(following).await;
    assert_eq!(said.code, 3, "{said}");
    assert!(said.stderr.contains("■ cancelled"), "{said}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_and_says_how_to_come_back() {
    let (host, elita) = with_steps().await;
    let following = elita.start(&["run", "hostile", "UntilCancelled"]);
    let running = eventually("the job to run", async || {
        let listed = elita.run(&["job", "list", "--status", "running", "-q"]).await;
        listed.stdout.lines().next().map(str::to_owned)
    })
    .await;
    let pid = Pid::from_raw(following.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let said = Said::of(following).await;
    assert_eq!(said.code, 130, "{said}");
    assert!(said.stderr.contains(&format!("try: elita follow …{}", &running[28..])), "{said}");
    assert_eq!(host.running_job(&running).await.body["status"], "running");
}

#[tokio::test]
async fn with_cancel_on_interrupt_ctrl_c_stops_the_job() {
    let (_host, elita) = with_steps().await;
    let following = elita.start(&["run", "hostile", "UntilCancelled", "--cancel-on-interrupt"]);
    eventually("the job to run", async || {
        let listed = elita.run(&["job", "list", "--status", "running", "-q"]).await;
        (!listed.stdout.is_empty()).then_some(())
    })
    .await;
    kill_process(Pid::from_raw(following.id().unwrap().cast_signed()).unwrap(), Signal::INT).unwrap();
    let said = Said::of(following).await;
    assert_eq!(said.code, 3, "{said}");
}

#[tokio::test]
async fn of_several_jobs_the_worst_one_counts() {
    let (host, elita) = with_steps().await;
    let good = host.run_action("hostile", "Noop", "").await["job_id"].as_str().unwrap().to_owned();
    let bad = host.run_action("hostile", "Fail", "").await["job_id"].as_str().unwrap().to_owned();
    assert_eq!(elita.run(&["follow", &good, &bad]).await.code, 1);
    assert_eq!(elita.run(&["job", "wait", &bad, &good]).await.code, 1);
    assert_eq!(elita.run(&["job", "wait", &good]).await.code, 0);
    assert_eq!(elita.run(&["log", &bad]).await.code, 0, "the log could be read");
}

#[tokio::test]
async fn what_is_not_allowed_names_the_token_that_was_used() {
    let (host, elita) = with_widgets().await;
    let scope = elita.home().join("scope.json");
    std::fs::write(&scope, r#"{"apps": {"my_application": "read"}, "actions": {}, "servers": []}"#).unwrap();
    let made = elita.run(&["token", "create", "ci", "--scope", "scope.json"]).await;
    assert_eq!(made.code, 0, "{made}");
    let narrow = Elita::at(host.client.base(), made.stdout.trim());
    let said = narrow.run(&["run", "my_application", "DeleteWidgets", "testing=true", "count=1"]).await;
    assert_eq!(said.code, 4, "{said}");
    assert!(said.stderr.contains("(token of ELITA_TOKEN)"), "{said}");
}

#[tokio::test]
async fn all_jobs_that_match_are_shown_and_stopped_once_somebody_agrees() {
    let (host, elita) = with_steps().await;
    let start = async || {
        let started = elita.run(&["run", "hostile", "UntilCancelled", "--detach"]).await;
        assert_eq!(started.code, 0, "{started}");
        host.running_job(started.stdout.trim()).await;
        started.stdout.trim().to_owned()
    };
    let jobs = [start().await, start().await];
    let running = async || elita.run(&["job", "list", "--active", "-q"]).await.stdout.lines().count();

    let other = elita.run(&["job", "cancel", "--app", "chaos", "--yes"]).await;
    assert_eq!((other.code, &*other.stderr), (0, "no job matches\n"), "{other}");
    let unasked = elita.run(&["job", "cancel", "--app", "hostile"]).await;
    assert_eq!((unasked.code, unasked.stderr.contains("stop 2 jobs? There is no terminal")), (2, true), "{unasked}");
    assert!(jobs.iter().all(|job| unasked.stderr.contains(&**job)), "{unasked}");
    let words = ["job", "cancel", "--app", "hostile", "--name", "UntilCancelled", "--wait"];
    let (seen, code) = elita.answering_on_terminal(&words, ("[y/N] ", "n\n")).await;
    assert_eq!((code, running().await), (2, 2), "{seen}");
    let (seen, code) = elita.answering_on_terminal(&words, ("[y/N] ", "y\n")).await;
    assert_eq!((code, running().await), (0, 0), "{seen}");
    assert!(seen.contains("2 that run are asked to stop") && seen.matches("■ cancelled").count() == 2, "{seen}");

    let ended = host.run_action("hostile", "Noop", "").await["job_id"].as_str().unwrap().to_owned();
    let again = elita.run(&["job", "cancel", &ended]).await;
    assert_eq!((again.code, again.stderr.contains("has ended already")), (0, true), "{again}");
    for wrong in [
        &["job", "cancel"][..],
        &["job", "cancel", &jobs[0], "--app", "hostile"],
        &["job", "cancel", &jobs[0], "--yes"],
    ] {
        assert_eq!(elita.run(wrong).await.code, 2, "{wrong:?}");
    }
}
