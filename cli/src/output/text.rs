//! Values and texts, safe for a terminal.

use serde_json::Value;

/// A value on one line: texts as they are, the rest as JSON; null is nothing.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => visible(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        _ => value.to_string(),
    }
}

/// The text with its control characters made visible: nothing that a plugin or a user wrote can move the cursor.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if is_harmful(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Control characters, and those that turn the direction of writing.
fn is_harmful(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{shown, visible};
    use serde_json::json;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\rc\n"), "a\\u{1b}[2Jb\\rc\n");
        assert_eq!(shown(&json!(["a", "b"])), "a, b");
        assert_eq!(shown(&json!({ "a": [1] })), r#"{"a":[1]}"#);
        assert_eq!(shown(&json!(null)), "");
    }
}
