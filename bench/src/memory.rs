//! How much memory this process has to itself.

/// The bytes that are neither shared nor read from a file, as Linux counts them; 0 where it does not.
pub(crate) fn private_bytes() -> u64 {
    let counts = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let dirty = counts.lines().find_map(|line| line.strip_prefix("Private_Dirty:")?.trim().strip_suffix(" kB"));
    dirty.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}
