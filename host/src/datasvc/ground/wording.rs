//! What is wrong with a value, in words for people who know JSON and not Rust. serde says it in Rust's.

/// Says again what follows a beginning that is known.
type Say = fn(&str) -> Option<String>;

/// The same sentence without the names of Rust's types.
pub fn plainly(message: &str) -> String {
    // The line and the column are those in a part of what was sent, and would be taken for those in all of it.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let beginnings: [(&str, Say); 7] = [
        ("unknown variant ", unknown_word),
        ("unknown field ", unknown_member),
        ("invalid type: ", unexpected),
        ("invalid value: ", unexpected),
        ("invalid length ", wrong_length),
        ("missing field ", |rest| Some(format!("{rest} is missing"))),
        ("duplicate field ", |rest| Some(format!("{rest} is given twice"))),
    ];
    let said = beginnings.iter().find_map(|(beginning, say)| message.strip_prefix(beginning).and_then(say));
    said.unwrap_or_else(|| match message {
        _ if message.starts_with("data did not match any variant") => {
            "it does not have one of the forms that are allowed here".into()
        }
        "number out of range" => "the number is out of range".into(),
        _ => message.to_owned(),
    })
}

/// Of ``` `x`, expected one of `a`, `b` ```.
fn unknown_word(rest: &str) -> Option<String> {
    let (found, known) = rest.split_once(", expected ")?;
    let known = known.strip_prefix("one of ").unwrap_or(known);
    Some(format!("{found} is not known here; known are {}", known.replace(" or ", ", ")))
}

fn unknown_member(rest: &str) -> Option<String> {
    match rest.split_once(", ") {
        Some((found, "there are no fields")) => {
            Some(format!("{found} is not known here, where no members are allowed"))
        }
        Some(_) => unknown_word(rest),
        None => Some(format!("{rest} is not known here")),
    }
}

/// Of `string "x", expected u32`.
fn unexpected(rest: &str) -> Option<String> {
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    Some(format!("expected {}, not {}", kind(wanted), value(found)))
}

fn wrong_length(rest: &str) -> Option<String> {
    let (length, wanted) = rest.split_once(", expected ")?;
    Some(format!("expected {}, not {length} items", kind(wanted)))
}

/// What was found.
fn value(found: &str) -> String {
    let (kind, shown) = found.split_once(' ').map_or((found, None), |(kind, shown)| (kind, Some(shown)));
    match (kind, shown) {
        ("string", Some(text)) => format!("the text {text}"),
        ("integer", Some(number)) => format!("the number {number}"),
        ("floating", Some(number)) => format!("the number {}", number.trim_start_matches("point ")),
        ("boolean", Some(flag)) => flag.to_owned(),
        ("map", _) => "an object".into(),
        ("sequence", _) => "a list".into(),
        ("unit", _) => "null".into(),
        _ if found == "Option value" => "null".into(),
        _ => found.to_owned(),
    }
}

/// What was expected.
fn kind(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" | "string" | "str" | "a borrowed string" => "a text",
        "a sequence" => "a list",
        "a map" | "an object" => "an object",
        "unit" => "null",
        _ if ["struct ", "tuple struct ", "internally tagged enum ", "adjacently tagged enum "]
            .iter()
            .any(|rust| wanted.starts_with(rust)) =>
        {
            "an object"
        }
        _ if wanted.starts_with("enum ") || wanted.starts_with("variant ") => "one of the known words",
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::plainly;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only what goes wrong is of interest")]
    enum Sort {
        Web(Option<String>),
        Database { port: u16, flags: Vec<bool> },
    }

    #[test]
    fn what_is_wrong_is_said_without_rusts_words() {
        for (json, said) in [
            (r#"{"mail": 1}"#, "`mail` is not known here; known are `web`, `database`"),
            (r#"{"web": 1}"#, "expected a text, not the number `1`"),
            (r#"{"database": 1}"#, "expected an object, not the number `1`"),
            (r#"{"database": {"port": "x"}}"#, "expected a whole number that is not negative, not the text \"x\""),
            (r#"{"database": {"port": -1}}"#, "expected a whole number that is not negative, not the number `-1`"),
            (r#"{"database": {"port": 1.5}}"#, "expected a whole number that is not negative, not the number `1.5`"),
            (r#"{"database": {"port": 1}}"#, "`flags` is missing"),
            (r#"{"database": {"port": 1, "port": 2}}"#, "`port` is given twice"),
            (r#"{"database": {"ports": 1}}"#, "`ports` is not known here; known are `port`, `flags`"),
            (r#"{"database": {"flags": {}}}"#, "expected a list, not an object"),
            (r#"{"database": {"flags": [1]}}"#, "expected `true` or `false`, not the number `1`"),
            (r#"{"database": {"flags": [null]}}"#, "expected `true` or `false`, not null"),
        ] {
            let error = serde_json::from_str::<Sort>(json).unwrap_err();
            assert_eq!(plainly(&error.to_string()), said, "{json}");
        }
    }
}
