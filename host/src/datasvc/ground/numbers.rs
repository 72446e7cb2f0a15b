//! Numbers of JSON that would not stay what they are.

/// Refuses integers that no 64 bits hold: most programs round them, and so would this one.
///
/// # Errors
/// What is wrong, with the first of them.
pub fn check_integers(json: &str) -> Result<(), String> {
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'-' | b'0'..=b'9' if !in_string => {
                let of_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = bytes[at..].iter().take_while(|byte| of_number(byte)).count();
                let number = &json[at..at + length];
                let is_integer = !number.contains(['.', 'e', 'E']);
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    let number: String = number.chars().take(40).collect();
                    return Err(format!(
                        "the number {number} does not fit into 64 bits and would be rounded: send it as a text"
                    ));
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_integers;

    #[test]
    fn only_integers_that_would_be_rounded_are_refused() {
        for fine in [
            "18446744073709551615",
            "-9223372036854775808",
            "[1, 2.5, -3e300, 100000000000000000000.0]",
            r#"{"18446744073709551616": "18446744073709551616 \" 18446744073709551616"}"#,
        ] {
            assert_eq!(check_integers(fine), Ok(()), "{fine}");
        }
        for rounded in ["18446744073709551616", r#"{"a": [-9223372036854775809]}"#, r#"{"\"": 123456789012345678901}"#]
        {
            assert!(check_integers(rounded).unwrap_err().contains("64 bits"), "{rounded}");
        }
    }
}
