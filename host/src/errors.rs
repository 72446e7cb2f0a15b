//! What errors of all rooms have in common: codes, what caused them, and that an outage is said once.

use std::error::Error;

use tracing::{info, warn};

/// Makes an enum of codes. Each has one line of documentation, which a table in `docs/operating.md` repeats.
macro_rules! codes {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $(#[doc = $meaning:literal] $code:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        $vis enum $name {
            $(#[doc = $meaning] $code,)*
        }

        impl $name {
            /// All codes, in the order of their documentation.
            $vis const ALL: &[Self] = &[$(Self::$code),*];

            /// As in the documents: in kebab-case.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }

            /// What it means, in one line.
            $vis const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning.trim_ascii(),)*
                }
            }
        }
    };
}

/// Something that fails as long as another server is away, such as the database. It is said once for each outage.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_told: bool,
}

impl Outage {
    /// It has failed. Logs `what` goes wrong and why, unless that was said before in this outage.
    pub(crate) fn goes_on(&mut self, what: &str, problem: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(error = problem, "{what}");
        }
    }

    /// It works. Logs `what` is so again, where an outage was told.
    pub(crate) fn is_over(&mut self, what: &str) {
        if std::mem::take(&mut self.is_told) {
            info!("{what}");
        }
    }
}

/// An error, what caused it, what caused that, and so on.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The same in one line, for the log.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Fails if a section of the operating guide does not have exactly this table of codes.
#[cfg(test)]
pub(crate) fn assert_documented(section: &str, rows: &[String]) {
    let guide = include_str!("../../docs/operating.md");
    let (_, text) = guide.split_once(&format!("\n### {section}\n")).expect("the section of codes");
    let text = text.split("\n#").next().expect("a text has a beginning");
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(told, rows, "the table in docs/operating.md has to be\n{}\n", rows.join("\n"));
}
