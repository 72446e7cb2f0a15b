//! The command line, as somebody at a terminal or a script sees it: the real program against real servers.

mod authoring;
mod completion;
mod editing;
mod exit_codes;
mod follow;
mod languages;
mod mistakes;
mod operations;
mod output;
mod proxies;
mod pruning;
mod settings;
mod upload;

use crate::harness::{Elita, Said, Setup, TestHost};

/// A server with the example plugin and its application.
async fn with_widgets() -> (TestHost, Elita) {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let elita = Elita::of(&host);
    (host, elita)
}

/// A server whose plugin works in steps, as many and as slowly as is asked.
async fn with_steps() -> (TestHost, Elita) {
    let host = Setup::default().plugins(&["chaos", "misbehave"]).start().await;
    host.create_application("chaos").await;
    host.create_application("hostile").await;
    let elita = Elita::of(&host);
    (host, elita)
}

/// What is another one in each run is replaced: ids, times, durations, digests, ports and the folders of tests.
fn redacted(text: &str) -> String {
    let (mut redacted, mut before) = (String::new(), "");
    for word in text.split_inclusive([' ', '\n', '\t', '"', '`', ',']) {
        let end = word.len() - word.trim_end_matches([' ', '\n', '\t', '"', '`', ',']).len();
        let (word, separator) = word.split_at(word.len() - end);
        let is_duration = before == "in" && word.parse::<f64>().is_ok();
        redacted += &match before {
            _ if is_duration => "0.[s]".into(),
            // That of a component, which changes with its SDK.
            "size_bytes" => "[bytes]".into(),
            _ => replaced(word),
        };
        redacted += separator;
        before = word;
    }
    redacted
}

fn replaced(word: &str) -> String {
    let is_hex = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let hash = word.strip_prefix("sha256:").unwrap_or(word);
    let is_clock = word.len() == 12 && word.as_bytes()[2] == b':' && word.as_bytes()[8] == b'.';
    match word {
        _ if word.len() == 36 && is_hex(word) => "[id]".into(),
        _ if word.strip_prefix('…').is_some_and(|id| id.len() == 8 && is_hex(id)) => "…[id]".into(),
        _ if hash.len() == 64 && is_hex(hash) => "[digest]".into(),
        _ if is_clock => "[clock]".into(),
        _ if word.starts_with("20") && word.contains('T') && word.ends_with('Z') => "[time]".into(),
        _ if word.len() == 10 && word.starts_with("20") && word.matches('-').count() == 2 => "[date]".into(),
        _ if word.starts_with("http://127.0.0.1:") => "http://[address]".into(),
        _ => word.to_owned(),
    }
}

/// [`shown`] of one command line after the other.
async fn all_shown(elita: &Elita, lines: &[&str]) -> String {
    let mut all = String::new();
    for line in lines {
        all += &shown(elita, line).await;
    }
    all
}

/// A command and what came of it, for a snapshot.
async fn shown(elita: &Elita, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let said: Said = elita.run(&words).await;
    redacted(&format!("$ elita {line}\n{said}\n"))
}

/// A command on a terminal, where something is typed once something else is seen, and what is to be seen there, for a
/// snapshot. Only the last state of a line that is drawn over is kept, and colours are shown as such.
async fn seen(elita: &Elita, line: &str, typed: (&str, &str)) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let (seen, code) = elita.answering_on_terminal(&words, typed).await;
    redacted(&format!("$ elita {line}\n{}--- code {code}\n", drawn(&seen)))
}

/// What stays on the screen.
pub(crate) fn drawn(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.replace("\u{1b}[1A", "").split('\n') {
        let line = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
        let line = line.rsplit("\u{1b}[2K").next().unwrap_or_default();
        lines.push(line.replace('\u{1b}', "⎋"));
    }
    lines.join("\n")
}
