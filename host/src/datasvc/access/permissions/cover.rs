//! Whether some permissions are at most others, for every name there is or will be.
//!
//! Patterns overlap, and the most specific one decides, so that no comparison of patterns with each other tells. But
//! all names fall into few kinds: those that the same patterns match. A walk over what the patterns make of a name,
//! character by character, meets a name of each kind.

use std::collections::{BTreeSet, HashSet, VecDeque};

/// How many steps the walk takes at most. What needs more is refused.
const MAX_STEPS: usize = 20_000;

/// For each pattern, the places in it that the name so far can have led to.
type Places = Vec<BTreeSet<usize>>;

/// Whether `holds` is true for each kind of names: it is told which of the patterns match. False, too, where there are
/// too many kinds.
pub(super) fn for_all_names(patterns: &[&str], mut holds: impl FnMut(&[bool]) -> bool) -> bool {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    let letters = letters(&patterns);
    let start: Places = patterns.iter().map(|pattern| skipping(pattern, [0].into())).collect();
    let mut seen = HashSet::from([start.clone()]);
    let mut next = VecDeque::from([start]);
    while let Some(places) = next.pop_front() {
        let matched: Vec<bool> =
            patterns.iter().zip(&places).map(|(pattern, places)| places.contains(&pattern.len())).collect();
        if !holds(&matched) || seen.len() > MAX_STEPS {
            return false;
        }
        for letter in &letters {
            let after: Places =
                patterns.iter().zip(&places).map(|(pattern, places)| step(pattern, places, *letter)).collect();
            if seen.insert(after.clone()) {
                next.push_back(after);
            }
        }
    }
    true
}

/// All letters of the patterns, and one that is in none of them.
fn letters(patterns: &[&[u8]]) -> Vec<u8> {
    let used: BTreeSet<u8> = patterns.iter().flat_map(|pattern| pattern.iter().copied()).collect();
    let other = (0..=u8::MAX).find(|letter| !used.contains(letter) && !matches!(letter, b'*' | b'?'));
    used.into_iter().filter(|letter| !matches!(letter, b'*' | b'?')).chain(other).collect()
}

fn step(pattern: &[u8], places: &BTreeSet<usize>, letter: u8) -> BTreeSet<usize> {
    let after = places.iter().filter_map(|&place| match pattern.get(place)? {
        b'*' => Some(place),
        b'?' => Some(place + 1),
        &wanted if wanted == letter => Some(place + 1),
        _ => None,
    });
    skipping(pattern, after.collect())
}

/// A star may match nothing at all.
fn skipping(pattern: &[u8], mut places: BTreeSet<usize>) -> BTreeSet<usize> {
    let stars: Vec<usize> = places.iter().copied().collect();
    for mut place in stars {
        while pattern.get(place) == Some(&b'*') {
            place += 1;
            places.insert(place);
        }
    }
    places
}
