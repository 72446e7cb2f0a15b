//! What errors of all rooms have in common: codes, and what caused them.

use std::error::Error;

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
