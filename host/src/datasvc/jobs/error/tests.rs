use super::*;

#[test]
fn the_operating_guide_says_of_each_code_what_its_documentation_says() {
    let guide = include_str!("../../../../../docs/operating.md");
    let (_, section) = guide.split_once("\n### Why a job failed\n").expect("the section of codes");
    let section = section.split("\n#").next().expect("a text has a beginning");
    let told: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let meant: Vec<_> = JobErrorCode::ALL.iter().map(|code| format!("| `{code}` | {} |", code.meaning())).collect();
    assert_eq!(told, meant, "the table in docs/operating.md has to be\n{}\n", meant.join("\n"));
}

#[test]
fn no_two_codes_have_the_same_text() {
    let mut texts: Vec<_> = JobErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), JobErrorCode::ALL.len());
}
