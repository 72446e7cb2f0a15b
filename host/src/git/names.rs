//! Which paths git takes out of a tree on every system. `git fast-import` takes any, and each clone would fail then.

use super::{GitError, Mode};

/// Refuses a path that a clone refuses, or that leads elsewhere.
///
/// # Errors
/// [`GitError::Refused`] that names it.
pub(super) fn check(path: &[u8], mode: Mode) -> Result<(), GitError> {
    let refuse = |why: &str| {
        let shown: String = String::from_utf8_lossy(path).chars().filter(|c| !c.is_control()).take(200).collect();
        Err(GitError::Refused(format!("`{shown}` cannot be committed: {why}")))
    };
    let Ok(text) = std::str::from_utf8(path) else { return refuse("its name is not in UTF-8") };
    if text.is_empty() || text.starts_with('/') {
        return refuse("it is not a path within the repository");
    }
    if text.contains(['\0', '\n', '\r']) || text.contains('\\') {
        return refuse("its name has a line break, a NUL or a backslash in it");
    }
    for part in text.split('/') {
        match part {
            "" | "." | ".." => return refuse("it has an empty part, `.` or `..` in it"),
            part if stands_for(part, "git", "git~1") => return refuse("git keeps its own files there"),
            part if mode == Mode::Link && stands_for(part, "gitmodules", "gitmod~1") => {
                return refuse("git takes no links of this name");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether some file system takes a name for `.<word>`.
fn stands_for(part: &str, word: &str, short: &str) -> bool {
    // HFS+ takes no notice of these.
    let ignored = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let visible: String = part.chars().filter(|c| !ignored(c)).collect();
    // NTFS takes none of dots and spaces at the end, and of what comes after a colon.
    let name = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(word)) || name.eq_ignore_ascii_case(short)
}
