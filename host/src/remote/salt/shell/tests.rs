use std::io::Write as _;
use std::process::{Command as Process, Stdio};

use super::*;
use crate::remote::sh::{looking, wrapper};
use crate::remote::{Outcome, Shell};

/// What a minion would return of this, run here with this home.
fn run(arguments: &Map<String, Value>, home: &std::path::Path) -> Return {
    let words: Vec<_> = arguments["cmd"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let mut minion = Process::new(words[0]);
    minion.args(&words[1..]).env("HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut minion = minion.spawn().unwrap();
    minion.stdin.take().unwrap().write_all(arguments["stdin"].as_str().unwrap().as_bytes()).unwrap();
    let output = minion.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = json!({ "retcode": 0, "stdout": text(&output.stdout), "stderr": text(&output.stderr) });
    Return { r#return: value, retcode: Some(0), success: Some(true) }
}

fn report(command: &Command) -> Report {
    let (home, id) = (tempfile::tempdir().unwrap(), CommandId::new());
    let arguments = arguments(id, &wrapper(id, command, None, Environment::Script), Input::Sent(&command.input));
    let Answer::Ended(report) = answer(id, &run(&arguments, home.path()), command) else { panic!("it has ended") };
    // Whoever looks later sees the same.
    let looked = super::arguments(id, &looking(id, command.output_bytes), Input::None);
    let Answer::Ended(again) = answer(id, &run(&looked, home.path()), command) else { panic!("it has ended") };
    assert_eq!(again, report);
    report
}

#[test]
fn arguments_input_and_output_arrive_whatever_is_in_them() {
    let words = ["printf", "%s|", "it's", "$HOME `x` \"y\"", "a\nb", "", "*", "é", "--", "\\n\\0101\\c", "\t"];
    let ended = report(&Command::new(words));
    assert_eq!(ended.stdout, "it's|$HOME `x` \"y\"|a\nb||*|é|--|\\n\\0101\\c|\t|");
    let input: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let digest: String = Sha256::digest(&input).iter().map(|byte| format!("{byte:02x}")).collect();
    let ended = report(&Command::new(["sha256sum"]).reading(input));
    assert_eq!(ended.stdout, format!("{digest}  -\n"));
    let ended = report(&Command::script("printf 'a\\377b \\n\\n'; echo err >&2; exit 3"));
    assert_eq!((&*ended.stdout, &*ended.stderr, ended.exit_code), ("a\u{fffd}b \n\n", "err\n", Some(3)));
    assert!(!ended.truncated);
}

#[test]
fn output_that_is_too_long_is_cut_and_says_so() {
    let command = Command { output_bytes: 10, ..Command::script("printf 0123456789; printf 0123456789a >&2") };
    let ended = report(&command);
    assert_eq!((&*ended.stdout, &*ended.stderr, ended.truncated), ("0123456789", "0123456789", true));
}

#[test]
fn what_a_minion_says_instead_is_told() {
    let command = Command::of(Program::Script { script: "true".into(), shell: Shell::Sh });
    let said = |value: Value| answer(CommandId::new(), &Return { r#return: value, ..Return::default() }, &command);
    assert!(
        matches!(said(json!("ERROR: Unable to run command")), Answer::Impossible(said) if said.starts_with("ERROR"))
    );
    assert!(matches!(said(json!("VALUE_TRIMMED")), Answer::Known));
    assert!(matches!(said(json!({ "stdout": "VALUE_TRIMMED", "stderr": "" })), Answer::Known));
    assert!(matches!(said(json!(null)), Answer::Nothing(_)));
    // A command that prints the sentence of Salt's own client.
    let sentence = "Minion did not return. [No response]";
    let ended = report(&Command::new(["echo", sentence]));
    assert_eq!((ended.outcome, ended.stdout.trim()), (Outcome::Ok, sentence));
}
