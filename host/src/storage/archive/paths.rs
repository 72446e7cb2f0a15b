//! Very many paths in little memory: all in one text, each found by its hash.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;

/// Texts, one after the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

/// Paths, each of them once, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Paths {
    texts: Texts,
    found: Numbers,
}

/// Numbers of what is kept elsewhere, by its hash.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Where another text has a hash already, the next one that is free is taken.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The one with this number. What was never given is empty.
    pub(super) fn get(&self, number: usize) -> &str {
        let begin = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = begin.zip(self.ends.get(number).copied());
        range.and_then(|(begin, end)| self.text.get(begin..end)).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.get(number))
    }
}

impl Paths {
    /// The number of a path. `None`: it is not there.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        self.found.find(path, |number| self.texts.get(number) == path)
    }

    /// Adds a path. `Err`: it was there already. With its number in either case.
    pub(super) fn add(&mut self, path: &str) -> Result<usize, usize> {
        let number = self.texts.len();
        match self.found.add(path, number, |number| self.texts.get(number) == path) {
            Some(known) => Err(known),
            None => {
                self.texts.push(path);
                Ok(number)
            }
        }
    }

    pub(super) fn get(&self, number: usize) -> &str {
        self.texts.get(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter()
    }
}

impl Numbers {
    fn find(&self, text: &str, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hash = self.hasher.hash_one(text);
        loop {
            let number = *self.numbers.get(&hash)? as usize;
            if is_it(number) {
                return Some(number);
            }
            hash = hash.wrapping_add(1);
        }
    }

    /// Adds the number of a text, unless there is one already, which is returned.
    pub(super) fn add(&mut self, text: &str, number: usize, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hash = self.hasher.hash_one(text);
        loop {
            match self.numbers.entry(hash) {
                Entry::Vacant(free) => {
                    // There are never so many: what may be in an archive is bounded.
                    free.insert(u32::try_from(number).unwrap_or(u32::MAX));
                    return None;
                }
                Entry::Occupied(taken) if is_it(*taken.get() as usize) => return Some(*taken.get() as usize),
                Entry::Occupied(_) => hash = hash.wrapping_add(1),
            }
        }
    }
}
