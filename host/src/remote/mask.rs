//! Hides what looks like a secret in text that is shown to people.

/// Words after which a value is hidden: `--password x`, `PASSWORD=x`, `token: x`.
const TELLING: [&str; 6] = ["password", "passwd", "secret", "token", "apikey", "api-key"];

/// The same text without what looks like a secret: tokens of Elita, passwords in URLs, and the values of words such as
/// `password`. It cannot know all: what must not be shown is not to be in a command.
pub fn masked(text: &str) -> String {
    let mut hides_next = false;
    let mut masked = String::with_capacity(text.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = &piece[word.len()..];
        if word.is_empty() {
            masked.push_str(piece);
            continue;
        }
        if std::mem::take(&mut hides_next) && !word.starts_with('-') {
            masked.push_str("***");
        } else {
            masked.push_str(&masked_word(word));
            let bare = word.trim_start_matches('-').trim_end_matches(':').to_ascii_lowercase();
            hides_next = (word.starts_with('-') || word.ends_with(':')) && is_telling(&bare);
        }
        masked.push_str(space);
    }
    masked
}

fn masked_word(word: &str) -> String {
    if let Some((name, value)) = word.split_once(['=', ':'])
        && !value.is_empty()
        && !value.starts_with("//")
        && is_telling(&name.to_ascii_lowercase())
    {
        return format!("{}***", &word[..=name.len()]);
    }
    let word = without_password(word);
    match word.find("elita_") {
        Some(at) => {
            let rest = &word[at + 6..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
            if end < 20 { word } else { format!("{}elita_***{}", &word[..at], &rest[end..]) }
        }
        None => word,
    }
}

/// `https://user:password@host` without the password.
fn without_password(word: &str) -> String {
    let hidden = || {
        let (scheme, rest) = word.split_once("://")?;
        let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, _) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:***{}", &rest[user.len()..]))
    };
    hidden().unwrap_or_else(|| word.to_owned())
}

fn is_telling(name: &str) -> bool {
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    TELLING.iter().any(|telling| name.ends_with(telling) || name.replace('_', "-").ends_with(telling))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (text, shown) in [
            ("ls -l /opt", "ls -l /opt"),
            ("mysql --password hunter2 -h db", "mysql --password *** -h db"),
            ("mysql --password=hunter2", "mysql --password=***"),
            ("env DB_PASSWORD=x API_KEY=y z", "env DB_PASSWORD=*** API_KEY=*** z"),
            ("git clone https://ada:s3cret@git.example/x.git", "git clone https://ada:***@git.example/x.git"),
            ("git clone https://git.example/x.git", "git clone https://git.example/x.git"),
            ("curl -H 'Authorization: elita_0123456789abcdef0123456789'", "curl -H 'Authorization: elita_***'"),
            ("elita --version", "elita --version"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
