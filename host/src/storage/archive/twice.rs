//! Members of an archive that are in it more than once, which is fine only if all of a name are the same: then it does
//! not matter which one a program takes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::{ArchiveError, Member, MemberKind};

/// What a member is, so that another one can be told to be the same.
#[derive(Eq, PartialEq)]
struct Known {
    kind: MemberKind,
    mode: Option<u32>,
    sha256: [u8; 32],
}

/// The first member of each of these names.
pub(super) struct Twice {
    names: HashSet<String>,
    first: HashMap<String, Known>,
}

impl Twice {
    pub(super) fn new(names: HashSet<String>) -> Self {
        Self { names, first: HashMap::new() }
    }

    /// Compares a member with the first one of its name.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] if it is another.
    pub(super) fn compare(
        &mut self,
        Member { path, kind }: &Member,
        mode: Option<u32>,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        if !self.names.contains(path) {
            return Ok(());
        }
        let mut hasher = Sha256::new();
        io::copy(content, &mut HashWriter(&mut hasher))?;
        let known = Known { kind: kind.clone(), mode, sha256: hasher.finalize().into() };
        match self.first.entry(path.clone()) {
            Entry::Vacant(free) => {
                free.insert(known);
                Ok(())
            }
            Entry::Occupied(first) if *first.get() == known => Ok(()),
            Entry::Occupied(_) => {
                Err(ArchiveError::in_member(path, "is in it twice, and not the same; make the archive anew"))
            }
        }
    }
}

struct HashWriter<'h>(&'h mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
