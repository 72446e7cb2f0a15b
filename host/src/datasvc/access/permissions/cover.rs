//! Whether some permissions allow no more than others, for every possible name.
//!
//! Patterns overlap, and the most specific one decides, so comparing the patterns with each other is not enough. But
//! all names fall into a few kinds: names of one kind match the same patterns. Feeding the patterns with names,
//! character by character, reaches a name of each kind. For some patterns this would take for ever: it has a budget,
//! and permissions that need more are refused.

use std::collections::{HashMap, HashSet, VecDeque};

/// How much a comparison may cost, in words of 64 places that are looked at: some tens of milliseconds, and 32 MiB.
const MAX_WORK: usize = 4_000_000;

/// What is left of the work that a comparison may take.
pub(super) struct Budget(usize);

/// The patterns overlap too much to be compared.
#[derive(Debug)]
pub(super) struct TooMuch;

impl Budget {
    pub(super) fn new() -> Self {
        Self(MAX_WORK)
    }

    fn spend(&mut self, work: usize) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(work).ok_or(TooMuch)?;
        Ok(())
    }
}

/// The places in all patterns that a name so far can have led to, as bits.
type Places = Box<[u64]>;

/// All patterns side by side. Each has a place before each of its characters that are not `*`, and one at its end.
struct Walk {
    /// How many words the places take.
    words: usize,
    /// Where a name of no characters has led to.
    start: Places,
    /// The places that a `*` lets a name stay at.
    stays: Places,
    /// The places that each letter leads on from.
    leads_on: Vec<Places>,
    /// Of each pattern that was given, the place at its end.
    ends: Vec<usize>,
}

/// Whether `holds` is true for each kind of names: it is told which of the patterns match.
pub(super) fn for_all_names(
    patterns: &[&str],
    budget: &mut Budget,
    mut holds: impl FnMut(&[bool], &mut Budget) -> Result<bool, TooMuch>,
) -> Result<bool, TooMuch> {
    let walk = Walk::over(patterns, budget)?;
    let mut seen = HashSet::from([walk.start.clone()]);
    let mut judged = HashSet::new();
    let mut next = VecDeque::from([walk.start.clone()]);
    while let Some(places) = next.pop_front() {
        let matched: Vec<bool> = walk.ends.iter().map(|end| has(&places, *end)).collect();
        budget.spend(patterns.len() / 8 + 1)?;
        if judged.insert(matched.clone()) {
            budget.spend(8 * patterns.len())?;
            if !holds(&matched, budget)? {
                return Ok(false);
            }
        }
        for leads_on in &walk.leads_on {
            budget.spend(walk.words)?;
            let after = walk.step(&places, leads_on);
            if !seen.contains(&after) {
                seen.insert(after.clone());
                next.push_back(after);
            }
        }
    }
    Ok(true)
}

impl Walk {
    fn over(patterns: &[&str], budget: &mut Budget) -> Result<Self, TooMuch> {
        let patterns: Vec<Vec<u8>> = patterns.iter().map(|pattern| normal(pattern)).collect();
        let mut begins: HashMap<&[u8], usize> = HashMap::new();
        let (mut places, mut different) = (0, Vec::new());
        let mut ends = Vec::new();
        for pattern in &patterns {
            let length = pattern.iter().filter(|byte| **byte != b'*').count();
            let begin = *begins.entry(pattern).or_insert_with(|| {
                different.push((places, pattern));
                places += length + 1;
                places - length - 1
            });
            ends.push(begin + length);
        }
        let (words, letters) = (places.div_ceil(64), letters(&patterns));
        budget.spend(words * letters.len() + places)?;
        let none = || vec![0_u64; words].into_boxed_slice();
        let mut walk = Self { words, start: none(), stays: none(), leads_on: vec![none(); letters.len()], ends };
        for (begin, pattern) in different {
            set(&mut walk.start, begin);
            walk.add(begin, pattern, &letters);
        }
        Ok(walk)
    }

    fn add(&mut self, begin: usize, pattern: &[u8], letters: &[u8]) {
        let mut place = begin;
        for &byte in pattern {
            if byte == b'*' {
                set(&mut self.stays, place);
                continue;
            }
            let led_by = letters.iter().zip(&mut self.leads_on).filter(|(letter, _)| byte == b'?' || byte == **letter);
            led_by.for_each(|(_, places)| set(places, place));
            place += 1;
        }
    }

    /// Where one more letter leads to. Nothing leads on from the end of a pattern into the next one.
    fn step(&self, places: &Places, leads_on: &Places) -> Places {
        let mut carried = 0;
        let words = places.iter().zip(leads_on).zip(&self.stays).map(|((places, leads_on), stays)| {
            let led = places & leads_on;
            let after = (places & stays) | (led << 1) | carried;
            carried = led >> 63;
            after
        });
        words.collect()
    }
}

fn has(places: &Places, place: usize) -> bool {
    places[place / 64] >> (place % 64) & 1 == 1
}

fn set(places: &mut Places, place: usize) {
    places[place / 64] |= 1 << (place % 64);
}

/// The same pattern as all that match the same names are written: of a run of `*` and `?` the `?` come first, and one
/// `*` is enough.
fn normal(pattern: &str) -> Vec<u8> {
    let mut normal = Vec::with_capacity(pattern.len());
    let mut is_open = false;
    for byte in pattern.bytes() {
        match byte {
            b'*' => is_open = true,
            b'?' => normal.push(byte),
            letter => {
                normal.extend(std::mem::take(&mut is_open).then_some(b'*'));
                normal.push(letter);
            }
        }
    }
    normal.extend(is_open.then_some(b'*'));
    normal
}

/// All letters of the patterns, and one that is in none of them.
fn letters(patterns: &[Vec<u8>]) -> Vec<u8> {
    let mut used = [false; 256];
    patterns.iter().flatten().for_each(|byte| used[usize::from(*byte)] = true);
    let is_letter = |byte: &u8| !matches!(byte, b'*' | b'?');
    let other = (0..=u8::MAX).find(|byte| is_letter(byte) && !used[usize::from(*byte)]);
    (0..=u8::MAX).filter(|byte| is_letter(byte) && used[usize::from(*byte)]).chain(other).collect()
}
