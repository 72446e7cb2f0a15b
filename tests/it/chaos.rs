//! A short run of `elita-chaos`: servers and Postgres are killed and stand still, and no job is lost or run twice.

use std::process::Command;

use serde_json::Value;

/// Those that show most in little time; `just chaos` has all of them.
const FAULTS: &str = "kill,freeze,kill-postgres,lose-answers";

#[tokio::test]
async fn no_job_is_lost_or_run_twice_whatever_is_killed() {
    let figures = tempfile::NamedTempFile::new().unwrap();
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_elita-chaos"));
    chaos
        .args(["--seconds", "26", "--hosts", "3", "--clients", "16", "--faults", FAULTS, "--json"])
        .arg(figures.path());
    let output = tokio::task::spawn_blocking(move || chaos.output().unwrap()).await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(figures.path()).unwrap()).unwrap();
    let figures = &report["figures"];
    for none in ["run twice", "lost without report", "log gaps", "stale writes accepted", "stream gaps"] {
        assert_eq!(figures[none], 0, "{said}");
    }
    // So much must have happened that the rest means something.
    assert!(figures["run"].as_u64().unwrap() > 50, "{said}");
    for fault in FAULTS.split(',') {
        assert!(report["faults"][fault].as_u64().unwrap() > 0, "{fault}: {said}");
    }
}
