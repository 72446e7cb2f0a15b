//! `elita plugin new`: a folder with a plugin that builds as it is.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::templates::{self, Named};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Make a folder with a plugin that builds as it is
///
/// What it needs of Elita, such as the interface and the SDK, comes with this program and goes into the folder.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  elita plugin new hello --lang python && cd hello && elita plugin dev")]
pub(crate) struct New {
    /// Its name, in lower case with dashes; the folder is called so
    #[arg(value_name = "NAME")]
    name: String,
    /// The language
    #[arg(short, long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,
    /// The application that its action is for
    #[arg(long, value_name = "APP", default_value = "my_application")]
    app: String,
    /// Where to make it [default: a folder of its name, here]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// A language that there is a template for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Language {
    Rust,
    Python,
    Javascript,
    C,
    Go,
}

impl New {
    pub(crate) fn run(self, output: &Output) -> Result<Code> {
        if !is_name(&self.name) {
            return Err(Failure::usage(format!("`{}` is not a name for a plugin", self.name))
                .hint("words in lower case with dashes between, such as hello-world"));
        }
        let folder = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        if folder.exists() {
            return Err(Failure::usage(format!("{} is there already", folder.display())).hint("another name, or --dir"));
        }
        let named = Named { name: &self.name, action: &camel(&self.name), app: &self.app };
        for (path, bytes) in templates::files(self.lang, &named) {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(&folder);
            let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, bytes));
            written.map_err(|error| Failure::file("write", &path, &error))?;
        }
        let prepare = templates::prepare(self.lang);
        match output.json {
            true => output.document(&json!({ "folder": folder, "action": named.action, "prepare": prepare })),
            false => {
                output.note(format!(
                    "{} has a plugin with the action {} of {}",
                    folder.display(),
                    named.action,
                    named.app
                ));
                output.note("try:");
                output.note(format!("  cd {}", folder.display()));
                prepare.iter().for_each(|line| output.note(format!("  {line}")));
                output.note("  elita plugin dev");
            }
        }
        Ok(Code::Done)
    }
}

/// The interface's language takes words of lower case letters and digits that begin with a letter.
fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.split('-').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

/// `hello-world` as `HelloWorld`.
fn camel(name: &str) -> String {
    let upper = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').map(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::{camel, is_name};

    #[test]
    fn names_are_words_with_dashes() {
        assert!(["hello", "hello-world", "a1"].iter().all(|name| is_name(name)));
        assert!(
            ["", "Hello", "hello_world", "-a", "a-", "a--b", "1a", "a-1", "../a"].iter().all(|name| !is_name(name))
        );
        assert_eq!(camel("hello-world"), "HelloWorld");
    }
}
