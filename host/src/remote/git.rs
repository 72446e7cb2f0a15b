//! Commands of git for a working copy on a server.

use serde::Serialize;

use super::Files;
use super::command::{Command, InvalidCommand, invalid};

/// The longest URL, name or reference, in bytes.
const MAX_WORD_BYTES: usize = 4096;

/// What git is to do with a working copy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verb")]
pub enum GitVerb {
    /// Clones a repository to where the working copy is to be.
    #[serde(rename = "git-clone")]
    Clone {
        /// Where the repository is.
        #[serde(serialize_with = "without_secrets")]
        url: String,
        /// What to check out. `None`: the repository's own default branch.
        branch: Option<String>,
    },
    /// Checks out a branch, a tag or a commit.
    #[serde(rename = "git-checkout")]
    Checkout {
        /// Its name.
        reference: String,
    },
    /// Has all tracked files as they were committed. Untracked ones stay.
    #[serde(rename = "git-discard-changes")]
    DiscardChanges,
    /// Stages all changes, also those of untracked files.
    #[serde(rename = "git-add-all")]
    AddAll,
    /// Commits what is staged.
    #[serde(rename = "git-commit")]
    Commit {
        /// Its message.
        message: String,
    },
    /// Sets who commits.
    #[serde(rename = "git-set-user")]
    SetUser {
        /// Their name.
        name: String,
        /// Their address.
        email: String,
    },
    /// Sets what git does to the ends of lines.
    #[serde(rename = "git-set-autocrlf")]
    SetAutocrlf {
        /// `true`, `false` or `input`.
        value: &'static str,
    },
    /// Sets where `origin` is pushed to.
    #[serde(rename = "git-set-push-url")]
    SetPushUrl {
        /// Where.
        #[serde(serialize_with = "without_secrets")]
        url: String,
    },
    /// Brings a branch forward, by a merge where it has commits of its own.
    #[serde(rename = "git-pull")]
    Pull(Pull),
}

/// How a working copy is brought forward.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pull {
    /// The remote. `None`: what the branch follows, or `origin` where a branch is named.
    pub remote: Option<String>,
    /// The branch there. `None`: what the branch follows.
    pub branch: Option<String>,
    /// Whose lines count where both have changed them. `None`: then it fails.
    pub favor: Option<Favor>,
    /// Whether lines are compared patiently.
    pub patience: bool,
    /// Whether changes of white space are passed over.
    pub ignore_all_space: bool,
}

/// Whose lines count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Favor {
    /// Those of the working copy.
    Ours,
    /// Those that are pulled.
    Theirs,
}

impl GitVerb {
    /// Its name, as plugins call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Clone { .. } => "git-clone",
            Self::Checkout { .. } => "git-checkout",
            Self::DiscardChanges => "git-discard-changes",
            Self::AddAll => "git-add-all",
            Self::Commit { .. } => "git-commit",
            Self::SetUser { .. } => "git-set-user",
            Self::SetAutocrlf { .. } => "git-set-autocrlf",
            Self::SetPushUrl { .. } => "git-set-push-url",
            Self::Pull(_) => "git-pull",
        }
    }

    /// Makes sure that git can be asked for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), InvalidCommand> {
        match self {
            Self::Clone { url, branch } => {
                check_url(url)?;
                branch.as_deref().map_or(Ok(()), |branch| check_word("branch", branch))
            }
            Self::Checkout { reference } => check_word("reference", reference),
            Self::DiscardChanges | Self::AddAll | Self::SetAutocrlf { .. } => Ok(()),
            Self::Commit { message } if message.trim().is_empty() => invalid("message", "a commit needs a message"),
            Self::Commit { message } if message.contains('\0') => invalid("message", "it must not contain NUL"),
            Self::Commit { .. } => Ok(()),
            Self::SetUser { name, email } => {
                check_line("name", name)?;
                check_line("email", email)
            }
            Self::SetPushUrl { url } => check_url(url),
            Self::Pull(Pull { remote, branch, .. }) => {
                remote.as_deref().map_or(Ok(()), |remote| check_word("remote", remote))?;
                branch.as_deref().map_or(Ok(()), |branch| check_word("branch", branch))
            }
        }
    }

    /// The command for the working copy at the path.
    ///
    /// # Errors
    /// If the path is not one.
    pub(super) fn command(&self, files: &Files<'_>, path: &str) -> Result<Command, InvalidCommand> {
        let git = |words: &[&str]| in_working_copy(files, path, words);
        let command = match self {
            Self::Clone { url, branch } => {
                let (unix, windows) = match branch {
                    Some(_) => (
                        r#"git clone --branch "$ELITA_BRANCH" -- "$ELITA_URL" ."#,
                        "& git clone --branch $env:ELITA_BRANCH -- $env:ELITA_URL .",
                    ),
                    None => (r#"git clone -- "$ELITA_URL" ."#, "& git clone -- $env:ELITA_URL ."),
                };
                // Into a directory that is there, since git knows no `~`.
                let unix = format!("mkdir -p -- \"$p\" && cd -- \"$p\" && exec {unix}");
                let windows = format!(
                    "[void] [IO.Directory]::CreateDirectory($p)\n{}",
                    windows_git(&format!("{windows}\nexit $LASTEXITCODE"))
                );
                let command = files.on(path, &unix, &windows)?.with("ELITA_URL", url);
                branch.iter().fold(command, |command, branch| command.with("ELITA_BRANCH", branch))
            }
            Self::Checkout { reference } => {
                git(&["checkout", "$ELITA_REFERENCE", "--"])?.with("ELITA_REFERENCE", reference)
            }
            Self::DiscardChanges => git(&["reset", "--hard"])?,
            Self::AddAll => git(&["add", "--all"])?,
            Self::Commit { message } => {
                let unix = "cd -- \"$p\" || exit 1\nif git diff --cached --quiet; then\n    echo 'there is nothing to commit'\n\
                            else\n    printf '%s\\n' \"$ELITA_MESSAGE\" | git commit --file -\nfi";
                let windows = "& git diff --cached --quiet\n\
                     if ($LASTEXITCODE -eq 0) { 'there is nothing to commit'; exit 0 }\n\
                     $OutputEncoding = New-Object Text.UTF8Encoding $false\n\
                     $env:ELITA_MESSAGE | & git commit --file -\nexit $LASTEXITCODE";
                files.on(path, unix, &windows_git(windows))?.with("ELITA_MESSAGE", message)
            }
            Self::SetUser { name, email } => {
                let unix = "cd -- \"$p\" && git config user.name \"$ELITA_NAME\" && exec git config user.email \"$ELITA_EMAIL\"";
                let windows = "& git config user.name $env:ELITA_NAME\n\
                     if ($LASTEXITCODE -eq 0) { & git config user.email $env:ELITA_EMAIL }\nexit $LASTEXITCODE";
                let command = files.on(path, unix, &windows_git(windows))?;
                command.with("ELITA_NAME", name).with("ELITA_EMAIL", email)
            }
            Self::SetAutocrlf { value } => git(&["config", "core.autocrlf", value])?,
            Self::SetPushUrl { url } => {
                git(&["remote", "set-url", "--push", "origin", "$ELITA_URL"])?.with("ELITA_URL", url)
            }
            Self::Pull(pull) => return pull.command(files, path),
        };
        Ok(command.with("GIT_TERMINAL_PROMPT", "0"))
    }
}

impl Pull {
    fn command(&self, files: &Files<'_>, path: &str) -> Result<Command, InvalidCommand> {
        let Self { remote, branch, favor, patience, ignore_all_space } = self;
        let mut words = vec!["pull", "--no-rebase", "--no-edit"];
        match favor {
            Some(Favor::Ours) => words.push("--strategy-option=ours"),
            Some(Favor::Theirs) => words.push("--strategy-option=theirs"),
            None => {}
        }
        if *patience {
            words.push("--strategy-option=patience");
        }
        if *ignore_all_space {
            words.push("--strategy-option=ignore-all-space");
        }
        if remote.is_some() || branch.is_some() {
            words.push("$ELITA_REMOTE");
        }
        if branch.is_some() {
            words.push("$ELITA_BRANCH");
        }
        let command = in_working_copy(files, path, &words)?.with("GIT_TERMINAL_PROMPT", "0");
        let command = command.with("ELITA_REMOTE", remote.as_deref().unwrap_or("origin"));
        Ok(branch.iter().fold(command, |command, branch| command.with("ELITA_BRANCH", branch)))
    }
}

/// Runs git in the working copy; a word that begins with `$` is a variable of the environment.
fn in_working_copy(files: &Files<'_>, path: &str, words: &[&str]) -> Result<Command, InvalidCommand> {
    let unix: Vec<_> =
        words.iter().map(|word| if word.starts_with('$') { format!("\"{word}\"") } else { (*word).into() }).collect();
    let windows: Vec<_> = words
        .iter()
        .map(|word| word.strip_prefix('$').map_or_else(|| (*word).to_owned(), |name| format!("$env:{name}")))
        .collect();
    let unix = format!("cd -- \"$p\" && exec git {}", unix.join(" "));
    files.on(path, &unix, &windows_git(&format!("& git {}\nexit $LASTEXITCODE", windows.join(" "))))
}

/// What git writes to standard error is not a failure; that there is no git is one.
fn windows_git(rest: &str) -> String {
    format!("Set-Location -LiteralPath $p\n[void] (Get-Command git)\n$ErrorActionPreference = 'Continue'\n{rest}")
}

fn check_url(url: &str) -> Result<(), InvalidCommand> {
    check_word("url", url)?;
    if url.contains("::") {
        return invalid("url", "a URL that names a program of git, by `::`, is not taken");
    }
    Ok(())
}

/// A word that git cannot take for an option, nor a shell for several.
fn check_word(what: &'static str, word: &str) -> Result<(), InvalidCommand> {
    check_line(what, word)?;
    if word.starts_with('-') || word.contains(char::is_whitespace) {
        return invalid(what, "it does not begin with `-`, and has no white space");
    }
    Ok(())
}

fn check_line(what: &'static str, line: &str) -> Result<(), InvalidCommand> {
    if line.is_empty() || line.len() > MAX_WORD_BYTES || line.contains(|c: char| c.is_control() || c == '"') {
        return invalid(what, "it has 1 to 4096 bytes, on one line, without quotation marks");
    }
    Ok(())
}

fn without_secrets<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::masked(url))
}
