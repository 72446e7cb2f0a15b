//! A command line that cannot be understood, told like every other failure: what, and what to do.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit::Code;
use crate::failure::Failure;

/// Tells it, or prints the help that was asked for.
pub(crate) fn told(error: &clap::Error, all: &Command, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Help that was asked for is an answer; where it cannot be printed, nobody reads it.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { Code::Usage as u8 } else { Code::Done as u8 });
    }
    let failure = failure(error, &path(all, arguments));
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    // Without standard error it cannot be told.
    let _ = writeln!(std::io::stderr(), "{}", failure.shown(json, false));
    ExitCode::from(failure.code as u8)
}

fn failure(error: &clap::Error, path: &str) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines();
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':');
    // What is missing, or which values there are. An empty line ends it.
    let details = lines.take_while(|line| !line.trim().is_empty()).map(|line| plain(line.trim()));
    let suggested = |kind| error.get(kind).into_iter().flat_map(words);
    let flag = error
        .get(ContextKind::InvalidArg)
        .into_iter()
        .flat_map(words)
        .find_map(|flag| flag.split(' ').next())
        .filter(|flag| flag.starts_with("--"));
    let value = |value: &str| flag.map_or_else(|| value.to_owned(), |flag| format!("{flag} {value}"));
    let suggested: Vec<String> = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg]
        .into_iter()
        .flat_map(suggested)
        .map(str::to_owned)
        .chain(suggested(ContextKind::SuggestedValue).map(value))
        .collect();
    let hint = match (&suggested[..], error.get(ContextKind::SuggestedSubcommand)) {
        ([], _) => format!("{path} --help"),
        (several, Some(_)) => several.iter().map(|word| format!("{path} {word}")).collect::<Vec<_>>().join(", or "),
        (several, None) => several.join(", or "),
    };
    Failure::usage(what).details(details).hint(hint)
}

fn words(value: &ContextValue) -> Vec<&str> {
    match value {
        ContextValue::String(word) => vec![word],
        ContextValue::Strings(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `<[APP] NAME>...` as it stands in the manual: `[APP] NAME`.
fn plain(argument: &str) -> String {
    argument
        .strip_prefix("<[")
        .map_or_else(|| argument.to_owned(), |rest| format!("[{}", rest.trim_end_matches("...").trim_end_matches('>')))
}

/// The command that was called, such as `elita build show`.
fn path(all: &Command, arguments: &[OsString]) -> String {
    let (mut command, mut path) = (all, String::from("elita"));
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        let Some(found) = command.find_subcommand(word) else { continue };
        command = found;
        path += &format!(" {word}");
    }
    path
}
