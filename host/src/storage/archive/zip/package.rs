//! A package on its way into its file. The library has the members that it writes in memory until it ends the archive,
//! so it writes archives of some of them: the directory of each is taken off again, and goes to the end of the file with
//! the others.

use std::io::Write as _;

use zip::ZipWriter;

use super::end;
use crate::storage::archive::ArchiveError;
use crate::storage::archive::output::Output;

/// How many members the library has in memory.
const PART: u64 = 1000;

pub(super) struct Package<'m> {
    /// `None`: an error has ended it.
    part: Option<ZipWriter<Output<'m>>>,
    /// How many members it has.
    members: u64,
    /// The directory of what was written before.
    directory: Vec<u8>,
    entries: u64,
}

impl<'m> Package<'m> {
    pub(super) fn new(output: Output<'m>) -> Self {
        Self { part: Some(ZipWriter::new(output)), members: 0, directory: Vec::new(), entries: 0 }
    }

    /// What takes the next member.
    pub(super) fn next(&mut self) -> Result<&mut ZipWriter<Output<'m>>, ArchiveError> {
        if self.members == PART {
            let output = self.end_part()?;
            self.part = Some(ZipWriter::new(output));
        }
        self.members += 1;
        self.part.as_mut().ok_or_else(over)
    }

    pub(super) fn finish(mut self) -> Result<(), ArchiveError> {
        if self.entries == 0 {
            let part = self.part.take().ok_or_else(over)?;
            return Ok(part.finish()?.flush()?);
        }
        let mut output = self.end_part()?;
        let (place, bytes) = (output.written()?, self.directory.len() as u64);
        output.write_all(&self.directory)?;
        output.write_all(&end::record(place, bytes, self.entries))?;
        Ok(output.flush()?)
    }

    /// Takes the directory off.
    fn end_part(&mut self) -> Result<Output<'m>, ArchiveError> {
        let mut output = self.part.take().ok_or_else(over)?.finish()?;
        let (file, meter) = output.file()?;
        let end = end::find(file, meter)?;
        self.directory.extend(end::read_at(file, end.directory, usize::try_from(end.directory_bytes).unwrap_or(0))?);
        self.entries += end.entries;
        self.members = 0;
        output.cut(end.directory)?;
        Ok(output)
    }
}

fn over() -> ArchiveError {
    std::io::Error::other("a package goes on after an error").into()
}
