//! Ending badly.

use std::hint::black_box;

use elita_plugin::prelude::*;

pub(crate) fn trap(_: &ActionCall) -> Result<()> {
    on_the_way_down(|| std::process::abort());
    Ok(())
}

pub(crate) fn panic(_: &ActionCall) -> Result<()> {
    on_the_way_down(|| panic!("the widget press is jammed: {}", 42));
    Ok(())
}

/// Ends badly two calls down; the backtrace should name both.
#[inline(never)]
fn on_the_way_down(end: fn()) {
    deep_inside_the_plugin(end);
    // So that the call above does not become a jump, which no backtrace shows.
    black_box(());
}

#[inline(never)]
fn deep_inside_the_plugin(end: fn()) {
    black_box(end)();
    black_box(());
}

pub(crate) fn overflow_the_stack(_: &ActionCall) -> Result<u64> {
    Ok(dig(1))
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "it is meant to run out of stack")]
fn dig(depth: u64) -> u64 {
    black_box(dig(black_box(depth) + 1)) + depth
}

pub(crate) fn exit(_: &ActionCall) -> Result<()> {
    std::process::exit(3);
}

pub(crate) fn fail(_: &ActionCall) -> Result<()> {
    let details = json!({ "press": 42, "widgets": ["left", "right"] });
    Err(Error::new("the widget press is jammed").with_details(details))
}

/// Tells operators what nobody else should know, and then everyone why it ends.
pub(crate) fn trap_after_some_words(_: &ActionCall) -> Result<()> {
    eprintln!("the press opens with 4711");
    eprintln!("the press is jammed");
    std::process::abort()
}
