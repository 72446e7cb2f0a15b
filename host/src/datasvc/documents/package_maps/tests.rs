use super::check_pattern;

#[test]
fn a_glob_of_relative_paths_is_a_pattern() {
    for pattern in ["**", "web/**", "*.js", "a/**/b?.{js,css}", "[!a-c]x", "..a/b..", "a...b", r"\*", "ä/*"] {
        assert_eq!(check_pattern(pattern), Ok(()), "{pattern}");
    }
}

#[test]
fn what_is_no_glob_or_leads_out_of_the_upload_is_no_pattern() {
    let long = "x".repeat(513);
    let nested = "{".repeat(400);
    for pattern in
        ["", "/web/*", "..", "../x", "a/../b", "a/..", "a[", "{a", "a}", "[z-a]", "a\\", "a\0", &long, &nested]
    {
        assert!(check_pattern(pattern).is_err(), "{pattern}");
    }
}
