//! Random vectors of arguments, which have to arrive on servers as they are, whatever reaches them.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::harness::{Setup, TestHost};

/// How many vectors are tried with each driver, and each login shell.
const VECTORS: usize = 1000;
/// How many of them are in one command, one behind the other.
const IN_A_COMMAND: usize = 50;
/// What is between two of them.
const NEXT: &str = "= next =";

/// Where vectors come from. It is shown as the seed to give in `ELITA_SEED` to have them again.
pub(crate) struct Vectors {
    seed: u64,
    rng: StdRng,
}

/// A command that prints the arguments which it gets.
pub(crate) struct Printed {
    pub(crate) command: Vec<String>,
    expected: String,
}

impl Vectors {
    pub(crate) fn new() -> Self {
        let seed: u64 = std::env::var("ELITA_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
        println!("ELITA_SEED={seed}");
        Self { seed, rng: StdRng::seed_from_u64(seed) }
    }

    /// Commands with 1000 vectors.
    pub(crate) fn some(&mut self) -> Vec<Printed> {
        (0..VECTORS / IN_A_COMMAND).map(|_| self.printed()).collect()
    }

    fn printed(&mut self) -> Printed {
        let mut arguments = Vec::new();
        for _ in 0..IN_A_COMMAND {
            arguments.extend((0..self.rng.random_range(0..6)).map(|_| nasty(&mut self.rng)));
            arguments.push(NEXT.to_owned());
        }
        let expected = arguments.iter().map(|argument| format!("<{argument}>")).collect();
        let command = ["printf", "<%s>"].map(str::to_owned).into_iter().chain(arguments).collect();
        Printed { command, expected }
    }
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VECTORS} vectors of the seed {}", self.seed)
    }
}

impl Printed {
    /// Fails with the first vector that did not arrive as it was.
    pub(crate) fn assert_arrived(&self, report: &Value, what: &str) {
        let printed = report["stdout"].as_str().unwrap_or_else(|| panic!("{what}: {report:#}"));
        let end = format!("<{NEXT}>");
        for (printed, expected) in printed.split(&end).zip(self.expected.split(&end)) {
            assert_eq!(printed, expected, "{what}");
        }
        assert_eq!(printed, self.expected, "{what}");
    }
}

/// A word with what shells, `printf` and protocols read as something else.
fn nasty(rng: &mut StdRng) -> String {
    const PIECES: [&str; 50] = [
        "'",
        "\"",
        "\\",
        "`x`",
        "$(x)",
        "$HOME",
        "$",
        "!",
        "!!",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "{a: b}",
        "~",
        "#",
        "&",
        "&&",
        "|",
        ";",
        ">x",
        "<x",
        "(",
        ")",
        "^",
        "\n",
        "\t",
        "\r",
        " ",
        "%s",
        "%%",
        "%PATH%",
        "\\n",
        "\\0101",
        "\\c",
        "-n",
        "--",
        "=",
        "a=b",
        "1:30",
        "null",
        "@",
        "\u{1}",
        "\u{7f}",
        "\u{1b}[0m",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{1f600}",
        "a",
    ];
    (0..rng.random_range(0..8)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
}

#[tokio::test]
async fn arguments_arrive_as_they_are_on_servers_of_the_driver_local() {
    let mut vectors = Vectors::new();
    let host: TestHost = Setup::default().switch("--local-servers").start().await;
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    for printed in vectors.some() {
        let accepted = host.client.post("/server/web1/command", &json!({ "command": printed.command })).await;
        let job = host.ended_job(accepted.body["job_id"].as_str().unwrap_or_else(|| panic!("{accepted}"))).await;
        printed.assert_arrived(&job["result"]["web1"], &vectors.to_string());
    }
    println!("local: {vectors}");
}
