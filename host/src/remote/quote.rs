//! The only place where text becomes a word of a shell script.

/// As one word of `sh`, which means nothing but itself.
pub(super) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('=') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// On one line, as `printf %b` reads it: each byte that is neither a letter nor a digit as `\0` and three octal digits.
pub(super) fn on_one_line(script: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(2 * script.len());
    for byte in script.bytes() {
        if byte.is_ascii_alphanumeric() {
            line.push(byte);
        } else {
            line.extend(format!("\\0{byte:03o}").bytes());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{on_one_line, quoted};

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_it() {
        assert_eq!(
            [quoted("a/b-c.d"), quoted(""), quoted("a b"), quoted("it's")],
            ["a/b-c.d", "''", "'a b'", r"'it'\''s'"]
        );
        assert_eq!([quoted("~/a"), quoted("$x"), quoted("a\nb")], ["'~/a'", "'$x'", "'a\nb'"]);
    }

    #[test]
    fn a_script_is_one_line_of_letters_digits_and_backslashes() {
        assert_eq!(on_one_line("é a\n"), br"\0303\0251\0040a\0012");
    }
}
