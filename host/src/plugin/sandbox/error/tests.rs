use super::*;

#[test]
fn of_a_long_trace_both_ends_are_kept() {
    let lines: Vec<_> = (1..=150).map(|number| format!("line {number}")).collect();
    let kept = trace(lines.iter().map(String::as_str)).expect("there is one");
    assert_eq!(kept.len(), 100);
    assert_eq!(kept[..50], lines[..50]);
    assert_eq!(kept[50], "… 51 more …");
    assert_eq!(kept[51..], lines[101..]);
}

#[test]
fn a_trace_that_fits_is_kept_as_it_is() {
    let lines: Vec<_> = (1..=100).map(|number| format!("line {number}")).collect();
    assert_eq!(trace(lines.iter().map(String::as_str)), Some(lines));
    assert_eq!(trace("".lines()), None);
}

#[test]
fn an_exception_is_told_by_its_last_line() {
    let traceback = "Traceback (most recent call last):\n  File \"plugin.py\", line 3, in go\nValueError: no";
    let stderr = format!("hello\n{traceback}\n\nthread '<unnamed>' panicked at runtime/src/lib.rs:1:2:\nunexpected");
    assert_eq!(exception(&stderr), Some((traceback, "ValueError: no")));
    assert_eq!(exception("thread '<unnamed>' panicked at src/lib.rs:1:2:\nno"), None);
}

#[test]
fn of_a_go_program_that_gives_up_the_message_and_the_stacks_are_told() {
    let stacks = "goroutine 1 [running]:\nmain.press()\n\t/src/plugin.go:7\n\ngoroutine 2 [select]:\nmain.wait()";
    let panic = format!("starting\npanic: runtime error: index out of range [3]\n\n{stacks}");
    assert_eq!(go_panic(&panic), Some(("runtime error: index out of range [3]", stacks)));
    let deadlock = format!("fatal error: all goroutines are asleep - deadlock!\n\n{stacks}");
    assert_eq!(go_panic(&deadlock), Some(("fatal error: all goroutines are asleep - deadlock!", stacks)));
    assert_eq!(go_panic("do not panic: this is a line"), None);
}

#[test]
fn of_a_long_panic_the_beginning_is_kept() {
    let message = panic_message(&format!("thread 'main' panicked at src/lib.rs:1:2:\n{}", "é".repeat(5000)));
    assert_eq!(message, Some(format!("{}… (src/lib.rs:1:2)", "é".repeat(4096))));
}
