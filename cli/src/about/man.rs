//! `elita man`: manual pages, made of what the commands say of themselves.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Args, Command};
use clap_mangen::Man;

use super::topics;
use crate::exit::{Code, TABLE};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Show the manual, or write all of its pages into a directory
#[derive(Args, Debug)]
pub(crate) struct Manual {
    /// Where to write the pages: elita.1, elita-run.1 and so on
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Manual {
    pub(crate) fn run(self, mut command: Command, output: &Output) -> Result<Code> {
        command.build();
        match self.directory {
            Some(directory) => write_all(&command, &directory, output)?,
            None => show(&page(&command)?, output)?,
        }
        Ok(Code::Done)
    }
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let written = Man::new(command.clone()).render(&mut page).map(|()| {
        let mut roff = clap_mangen::roff::Roff::new();
        roff.control("SH", ["EXIT CODES"]).control("nf", []).text([clap_mangen::roff::roman(TABLE)]).control("fi", []);
        roff.control("SH", ["ENVIRONMENT"])
            .control("nf", [])
            .text([clap_mangen::roff::roman(topics::ENVIRONMENT)])
            .control("fi", []);
        page.extend(roff.to_roff().into_bytes());
    });
    written.map_err(|error| Failure::usage(format!("the page cannot be made: {error}")))?;
    Ok(page)
}

/// A page for each command, named as `git` names them.
fn write_all(command: &Command, directory: &Path, output: &Output) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::file("make", directory, &error))?;
    let mut commands = vec![(command.get_name().to_owned(), command.clone())];
    let mut count = 0;
    while let Some((name, command)) = commands.pop() {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
        commands.extend(inner.map(|inner| (format!("{name}-{}", inner.get_name()), inner.clone())));
        let file = directory.join(format!("{name}.1"));
        std::fs::write(&file, page(&command)?).map_err(|error| Failure::file("write", &file, &error))?;
        count += 1;
    }
    output.note(format!("{count} pages are in {}", directory.display()));
    Ok(())
}

/// Through `man` on a terminal, and as it is elsewhere.
fn show(page: &[u8], output: &Output) -> Result<()> {
    if std::io::stdout().is_terminal()
        && let Ok(mut man) = Process::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn()
    {
        if let Some(mut input) = man.stdin.take() {
            // A reader that has seen enough closes it.
            let _ = input.write_all(page);
        }
        return man.wait().map(drop).map_err(|error| Failure::usage(format!("man failed: {error}")));
    }
    output.raw(page);
    Ok(())
}
