//! Lists of names, read page by page.

use std::vec::IntoIter;

use crate::Result;
use crate::bindings::elita::plugin::types::{Error, Names as Part, Page};

/// Reads a page of a list.
type Read = dyn FnMut(&Page) -> Result<Part, Error>;

/// The names in a list, in order. Each page is asked for when the one before is used up.
pub struct Names {
    names: IntoIter<String>,
    next: Option<String>,
    read: Box<Read>,
}

impl Names {
    pub(crate) fn read(mut read: impl FnMut(&Page) -> Result<Part, Error> + 'static) -> Result<Self> {
        let Part { items, next } = read(&Page { after: None, limit: None })?;
        Ok(Self { names: items.into_iter(), next, read: Box::new(read) })
    }
}

impl Iterator for Names {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(name) = self.names.next() {
                return Some(Ok(name));
            }
            let after = self.next.take()?;
            match (self.read)(&Page { after: Some(after), limit: None }) {
                Ok(Part { items, next }) => (self.names, self.next) = (items.into_iter(), next),
                Err(problem) => return Some(Err(problem.into())),
            }
        }
    }
}
