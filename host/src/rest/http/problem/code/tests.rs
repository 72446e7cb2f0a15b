use super::ProblemCode;
use crate::errors::assert_documented;

#[test]
fn the_operating_guide_says_of_each_code_what_its_documentation_says() {
    let row = |code: &ProblemCode| format!("| `{}` | {} | {} |", code.as_str(), code.status().as_u16(), code.meaning());
    let rows: Vec<_> = ProblemCode::ALL.iter().map(row).collect();
    assert_documented("Why a request was not carried out", &rows);
}
