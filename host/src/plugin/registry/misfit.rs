//! Why a component does not fit this host, in a sentence for its author.

/// What an author can do where the WIT that a component was built with has more than this host's.
pub(super) const NEWER: &str = "build it with the WIT of this Elita, or update the server if the plugin's is newer";

/// What the linker says. Of what our interfaces lack it speaks in terms of its own.
pub(super) fn reason(problem: &wasmtime::Error) -> String {
    let told = format!("{problem:#}");
    lacking(&told).unwrap_or(told)
}

/// `component imports instance `elita:plugin/jobs@0.1.0`, but …: instance export `pause` …: …`, with the words in which
/// wasmtime puts it; `None` for anything else.
fn lacking(told: &str) -> Option<String> {
    let mut quoted = told.strip_prefix("component imports instance `")?.split('`');
    let interface = quoted.next().filter(|interface| interface.starts_with("elita:plugin/"))?;
    let member = quoted.nth(1)?;
    let what = match told.rsplit(": ").next()? {
        "function implementation is missing" => "the function",
        "resource implementation is missing" => "the resource",
        // It is there, and has other types.
        _ => {
            let how = told.split_once("has the wrong type: ").map_or(told, |(_, how)| how);
            return Some(format!("its `{member}` of `{interface}` is not that of this host ({how}): {NEWER}"));
        }
    };
    Some(format!("it imports {what} `{member}` of `{interface}`, which this host does not offer: {NEWER}"))
}
