use super::*;
use crate::errors::assert_documented;

#[test]
fn the_operating_guide_says_of_each_code_what_its_documentation_says() {
    let rows: Vec<_> = JobErrorCode::ALL.iter().map(|code| format!("| `{code}` | {} |", code.meaning())).collect();
    assert_documented("Why a job failed", &rows);
}

#[test]
fn no_two_codes_have_the_same_text() {
    let mut texts: Vec<_> = JobErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), JobErrorCode::ALL.len());
}
