use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use super::*;

const MARK: &str = "elita-0123";

fn said(stdout: &[u8]) -> Answer {
    let output =
        Output { status: ExitStatus::from_raw(0), stdout: stdout.to_vec(), stderr: b"Connection reset\n".into() };
    answer(MARK, &output, &Command::new(["true"]))
}

#[test]
fn what_a_login_shell_prints_is_no_answer() {
    assert!(
        matches!(said(b"Welcome!\nLast login: today\n"), Answer::Nothing(OpenError { why, may_pass: true }) if why == "Connection reset")
    );
    assert!(matches!(said(b"Welcome!\nelita-0123 absent\n"), Answer::Absent));
}

#[test]
fn output_is_read_by_its_length_whatever_is_in_it() {
    let answered =
        said(b"motd\nelita-0123 start\nelita-0123 end 3 0 24 4\nelita-0123 end 0 0 0 0\n!erroelita-0123 done\n");
    let Answer::Ended(report) = answered else { panic!("it has ended") };
    assert_eq!((report.exit_code, &*report.stdout, &*report.stderr), (Some(3), "elita-0123 end 0 0 0 0\n!", "erro"));
}

#[test]
fn an_answer_that_is_cut_off_is_no_end() {
    assert!(matches!(said(b"elita-0123 start\n"), Answer::Begun));
    assert!(matches!(said(b"elita-0123 start\nelita-0123 end 0 0 10 0\nshort"), Answer::Begun));
    assert!(matches!(said(b"elita-0123 start\nelita-0123 end 0 0 1"), Answer::Begun));
}

#[test]
fn the_home_is_for_the_server_to_know() {
    assert_eq!(["~", "~/a b", "/a/it's"].map(shell_path), ["\"$HOME\"", "\"$HOME\"'/a b'", r"'/a/it'\''s'"]);
}
