//! JSON pointers (RFC 6901): where in a document something is wrong.

use serde_path_to_error::{Path, Segment};

/// A path into a document as a JSON pointer.
pub fn pointer(path: &Path) -> String {
    path.iter().map(|step| format!("/{}", segment(step))).collect()
}

fn segment(step: &Segment) -> String {
    match step {
        Segment::Seq { index } => index.to_string(),
        other => escaped(&other.to_string()),
    }
}

/// A name as a segment of a JSON pointer.
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
