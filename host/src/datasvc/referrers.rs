//! What refers to a thing and so keeps it from being removed or changed, as an error names it.

/// How many of them are named.
pub(super) const NAMED: i64 = 5;

/// One of those that refer to it.
pub(super) struct Referrer {
    /// Its name.
    pub(super) name: String,
    /// How many there are of its kind.
    pub(super) count: i64,
}

/// Says which there are, such as "the groups `a`, `b` and 3 more". None: there are none.
pub(super) fn named(kind: &str, found: &[Referrer]) -> Option<String> {
    let count = found.first()?.count;
    let names: Vec<_> = found.iter().map(|referrer| format!("`{}`", referrer.name)).collect();
    let plural = if count == 1 { "" } else { "s" };
    let more = match count - found.len() as i64 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("the {kind}{plural} {}{more}", names.join(", ")))
}
