//! Patterns of names, in which `*` is any run of characters and `?` is one.

/// Whether the pattern matches the whole name. Names are ASCII, so that a byte is a character.
pub(in crate::datasvc) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Most are told apart by this, so that long patterns cost little.
    if pattern.iter().filter(|byte| **byte != b'*').count() > name.len() {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` has to take one more byte.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n + 1));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, n) = (star + 1, from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}
