//! `elita completions`: what a shell needs to complete words.

use clap::Args;
use clap_complete::env::Shells;

use crate::complete::VARIABLE;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Print what your shell needs to complete words
#[derive(Args, Debug)]
#[command(after_help = "For bash:  elita completions bash > ~/.local/share/bash-completion/completions/elita
For zsh:   source <(elita completions zsh)   in ~/.zshrc, after compinit
For fish:  elita completions fish > ~/.config/fish/completions/elita.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    shell: String,
}

impl Completions {
    pub(crate) fn run(self, output: &Output) -> Result<Code> {
        let shells = Shells::builtins();
        let shell = shells.completer(&self.shell).ok_or_else(|| Failure::usage("that shell is not known"))?;
        let mut script = Vec::new();
        let written = shell.write_registration(VARIABLE, "elita", "elita", "elita", &mut script);
        written.map_err(|error| Failure::usage(format!("the script cannot be written: {error}")))?;
        output.raw(&script);
        Ok(Code::Done)
    }
}
