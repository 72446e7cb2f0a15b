//! Completion in real shells, with names from a server.

use super::with_widgets;
use crate::harness::{Elita, SOON, elita};

/// The line that bash makes of what was typed and a tab.
async fn in_bash(person: &Elita, typed: &str) -> String {
    let words: Vec<_> = typed.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        r#"PATH={}:$PATH
source <(elita completions bash)
COMP_WORDS=({})
COMP_CWORD={}
COMP_TYPE=9
_clap_complete_elita elita "${{COMP_WORDS[COMP_CWORD]}}"
printf '%s\n' "${{COMPREPLY[@]}}""#,
        elita().parent().unwrap().display(),
        words.join(" "),
        words.len() - 1,
    );
    let (seen, code) = person.shell_on_terminal(&["bash", "--norc", "-c", &script], &[]).await;
    assert_eq!(code, 0, "{seen}");
    seen
}

#[tokio::test]
async fn bash_completes_commands_applications_actions_and_parameters() {
    let (_host, elita) = with_widgets().await;
    assert_eq!(in_bash(&elita, "elita upl").await.trim(), "upload");
    assert_eq!(in_bash(&elita, "elita run my").await.trim(), "my_application");
    assert_eq!(in_bash(&elita, "elita run my_application D").await.trim(), "DeleteWidgets");
    let parameters = in_bash(&elita, "elita run my_application DeleteWidgets testing=true c").await;
    assert_eq!(parameters.trim(), "count=");
    assert_eq!(in_bash(&elita, "elita app show my").await.trim(), "my_application");
    assert_eq!(in_bash(&elita, "elita plugin show w").await.trim(), "widgets");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let elita = Elita::at("http://192.0.2.1", "no-token");
    let began = std::time::Instant::now();
    assert_eq!(in_bash(&elita, "elita run sh").await.trim(), "");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn zsh_completes_with_names_from_the_server() {
    let (_host, person) = with_widgets().await;
    let startup = format!(
        "PATH={}:$PATH\nPS1='> '\nautoload -U compinit\ncompinit -u -D\nsource <(elita completions zsh)\n",
        elita().parent().unwrap().display(),
    );
    std::fs::write(person.home().join(".zshrc"), startup).unwrap();
    let typed = [
        ("> ", "elita run my_application Del\t"),
        ("DeleteWidgets", "testing=true count=3\r"),
        ("succeeded", "exit\r"),
    ];
    let (seen, _) = person.shell_on_terminal(&["zsh", "-i"], &typed).await;
    assert!(seen.contains("✓ succeeded"), "{seen}");
}

/// What fish offers for a line.
async fn in_fish(person: &Elita, typed: &str) -> String {
    let script = format!(
        "set -gx PATH {} $PATH\nelita completions fish | source\ncomplete -C '{typed}'",
        elita().parent().unwrap().display(),
    );
    let (seen, code) = person.shell_on_terminal(&["fish", "--no-config", "-c", &script], &[]).await;
    assert_eq!(code, 0, "{seen}");
    // The name, a tab, and what it is.
    let names = seen.lines().map(|line| line.split('\t').next().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn fish_completes_with_names_from_the_server() {
    let (_host, elita) = with_widgets().await;
    assert_eq!(in_fish(&elita, "elita upl").await, "upload");
    assert_eq!(in_fish(&elita, "elita run my").await, "my_application");
    assert_eq!(in_fish(&elita, "elita run my_application D").await, "DeleteWidgets");
    assert_eq!(in_fish(&elita, "elita run my_application DeleteWidgets testing=true c").await, "count=");
    assert_eq!(in_fish(&elita, "elita plugin show w").await, "widgets");
}
