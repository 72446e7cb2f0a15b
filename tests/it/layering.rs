//! Who may know whom: the arrows of `ARCHITECTURE.md`, read from the `use` lines of the host.

use std::path::{Path, PathBuf};

use crate::harness::project_root;

/// What each room may name beside itself. What is not listed here, such as `boot`, may name everything.
const MAY_NAME: [(&str, &[&str]); 15] = [
    ("rest", &["work", "engine", "datasvc", "shares"]),
    ("work", &["engine", "plugin", "datasvc", "git", "outbound", "remote", "storage"]),
    ("engine", &["datasvc"]),
    ("plugin", &["datasvc", "outbound", "remote", "storage"]),
    ("datasvc", &["outbound", "shares"]),
    ("shares", &[]),
    ("git", &[]),
    ("outbound", &[]),
    ("remote", &["account"]),
    ("account", &[]),
    ("storage", &[]),
    ("postgres", &["account", "data_dir"]),
    ("data_dir", &[]),
    ("config", &["datasvc", "outbound", "plugin"]),
    ("telemetry", &[]),
];

/// What every room may name.
const COMMON: &str = "errors";

/// Groups of a room, and what each may name.
type Groups = &'static [(&'static str, &'static [&'static str])];

/// What each group within a room may name beside itself. `DataSvc` is what all groups of the data services give functions.
const GROUPS: [(&str, Groups); 2] = [
    (
        "datasvc",
        &[
            ("documents", &["DataSvc", "jobs", "access", "ground"]),
            ("jobs", &["DataSvc", "access", "ground"]),
            ("access", &["DataSvc", "ground"]),
            ("ground", &["DataSvc"]),
        ],
    ),
    (
        "plugin",
        &[
            ("runs", &["registry", "engine", "host", "sandbox", "effects", "bindings", "json"]),
            ("registry", &["engine", "sandbox", "catalog", "convert", "bindings"]),
            ("engine", &["host", "sandbox", "bindings"]),
            ("host", &["sandbox", "effects", "catalog", "convert", "bindings", "json"]),
            ("sandbox", &["effects", "catalog", "bindings"]),
            ("effects", &[]),
            ("catalog", &[]),
            ("convert", &["bindings"]),
            ("bindings", &["host"]),
            ("json", &[]),
        ],
    ),
];

/// What is not counted as an arrow: `bindings` is generated, and is told the types that `host` has for an error and for a
/// resource of the WIT. It calls nothing there.
const GENERATED: [(&str, &str); 1] = [("bindings", "host")];

/// Words that may stand in some rooms only.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("sqlx::", &["datasvc"]),
    ("axum::", &["rest"]),
    ("hyper::", &["rest", "outbound"]),
    ("tokio_rustls::", &["rest", "outbound"]),
    ("wasmtime::", &["plugin"]),
    ("object_store::", &["storage"]),
];

#[test]
fn the_arrows_between_the_rooms_never_turn_round() {
    let mut slips = Vec::new();
    for (room, may_name) in MAY_NAME {
        for (file, number, line) in lines_of(room) {
            for named in line.split("crate::").skip(1).map(first_word) {
                let known = named == room || named == COMMON || may_name.contains(&named) || !is_room(named);
                if !known {
                    slips.push(format!("{}:{number}: `{room}` names `{named}`", file.display()));
                }
            }
        }
    }
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

#[test]
fn the_groups_within_a_room_name_each_other_in_one_direction() {
    let mut slips = Vec::new();
    for (room, groups) in GROUPS {
        let room_itself = format!("crate::{room}::");
        for (group, may_name) in groups {
            for (file, number, line) in lines_of(&format!("{room}/{group}")) {
                let whole = line.split(&room_itself).skip(1).map(first_word);
                for named in whole.chain(named_above(&line, depth(&file))) {
                    if named != *group && !may_name.contains(&named) {
                        slips.push(format!("{}:{number}: `{room}/{group}` names `{named}`", file.display()));
                    }
                }
            }
        }
    }
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

#[test]
fn the_tables_of_rooms_and_of_groups_have_no_circles() {
    assert_has_no_circle("rooms", &MAY_NAME);
    for (room, groups) in GROUPS {
        assert_has_no_circle(room, groups);
    }
}

/// Takes off, again and again, what names nothing that is left: a circle stays.
fn assert_has_no_circle(what: &str, table: &[(&str, &[&str])]) {
    let mut left: Vec<_> = table.to_vec();
    loop {
        let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
        let names_one_that_is_left = |(name, may_name): &(&str, &[&str])| {
            may_name.iter().any(|other| names.contains(other) && !GENERATED.contains(&(*name, *other)))
        };
        left.retain(names_one_that_is_left);
        if left.len() == names.len() {
            break;
        }
    }
    assert!(left.is_empty(), "these {what} name each other in a circle, or one that does: {left:?}");
}

#[test]
fn each_technique_stays_in_its_room() {
    let mut slips = Vec::new();
    for (file, number, line) in lines_of("") {
        for (word, rooms) in ONLY_IN {
            let room = file.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
            if mentions(&line, word) && !rooms.contains(&&*room) {
                slips.push(format!("{}:{number}: `{word}` is for {rooms:?}", file.display()));
            }
        }
    }
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

#[test]
fn generated_bindings_are_named_only_where_they_are_converted() {
    let slips: Vec<_> = lines_of("plugin")
        .into_iter()
        .filter(|(file, _, line)| {
            let file = file.to_string_lossy();
            let known = file.contains("bindings.rs") || file.contains("convert.rs") || file.contains("/host/");
            line.contains("bindings::elita::plugin") && !known
        })
        .map(|(file, number, line)| format!("{}:{number}: {line}", file.display()))
        .collect();
    assert!(slips.is_empty(), "\n{}", slips.join("\n"));
}

/// Whether the word stands there as a path's beginning, and not at the end of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn first_word(code: &str) -> &str {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// How many modules a file is below its room.
fn depth(file: &Path) -> usize {
    file.iter().count() - if file.ends_with("mod.rs") { 2 } else { 1 }
}

/// What a line names of the room itself, by so many `super::`.
fn named_above(line: &str, depth: usize) -> impl Iterator<Item = &str> {
    const ABOVE: &str = "super::";
    let beginnings = line.match_indices(ABOVE).map(|(at, _)| at).filter(|at| !line[..*at].ends_with(ABOVE));
    beginnings.filter_map(move |at| {
        let mut rest = &line[at..];
        let mut above = 0;
        while let Some(further) = rest.strip_prefix(ABOVE) {
            (rest, above) = (further, above + 1);
        }
        (above == depth).then(|| first_word(rest))
    })
}

fn is_room(name: &str) -> bool {
    let source = project_root().join("host/src");
    source.join(name).is_dir() || source.join(format!("{name}.rs")).is_file()
}

/// The lines of code below `host/src/<room>`, with their file (below `host/src`) and number.
fn lines_of(room: &str) -> Vec<(PathBuf, usize, String)> {
    let source = project_root().join("host/src");
    let mut files = Vec::new();
    match room {
        "" => collect(&source, &mut files),
        _ => {
            collect(&source.join(room), &mut files);
            files.extend(Some(source.join(format!("{room}.rs"))).filter(|file| file.is_file()));
        }
    }
    // Tests may look behind the walls.
    files.retain(|file| !file.ends_with("tests.rs"));
    assert!(!files.is_empty(), "there is no `{room}` below {}", source.display());
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let below = file.strip_prefix(&source).unwrap();
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|(index, line)| (below.to_owned(), index + 1, line.to_owned())));
    }
    lines
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.extension() {
            Some(extension) if extension == "rs" => files.push(path),
            _ => collect(&path, files),
        }
    }
}
