//! A little, again and again; and lines that pretend to be the host's.

use std::hint::black_box;
use std::io::Write;

use elita_plugin::prelude::*;
use wasip2::clocks::monotonic_clock;

const LINE: &str = "and another line of no interest whatsoever to whoever has to read this log";

pub(crate) fn log(_: &ActionCall) -> Result<()> {
    loop {
        log::info!("{LINE}");
    }
}

pub(crate) fn stdout(_: &ActionCall) -> Result<()> {
    loop {
        writeln!(std::io::stdout(), "{LINE}")?;
    }
}

pub(crate) fn stderr(_: &ActionCall) -> Result<()> {
    loop {
        writeln!(std::io::stderr(), "{LINE}")?;
    }
}

pub(crate) fn entries(_: &ActionCall) -> Result<()> {
    for _ in 0..5000 {
        // It takes no notice of what it is told.
        let _ = jobs::append(LINE);
    }
    log::info!("that was all");
    Ok(())
}

/// Calls that each leave a line in the trace, and some of which there are few.
pub(crate) fn calls(call: &ActionCall) -> Result<()> {
    for _ in 0..1500 {
        applications::get(&call.application)?;
    }
    for _ in 0..1500 {
        // There is none.
        let _ = builds::get(&call.application, "none");
    }
    builds::create(&call.application, "one", &json!({}))?;
    log::info!("that was all");
    Ok(())
}

/// Changes its application again and again. It returns how often, and what it was told in the end.
pub(crate) fn changes(call: &ActionCall) -> Result<Value> {
    for number in 0..1000 {
        let attributes = json!({ "text": "x".repeat(60_000), "number": number });
        if let Err(error) = applications::update(&call.application, &json!({ "attributes": attributes })) {
            return Ok(json!({ "changes": number, "told": error.to_string() }));
        }
    }
    Ok(json!({ "changes": 1000 }))
}

/// Starts itself again and again, and so does each of those. It returns what it was told in the end.
pub(crate) fn jobs(call: &ActionCall) -> Result<Value> {
    let children: u32 = call.parameter("children")?;
    for started in 0..children {
        let again = actions::run(&call.application, "Breed", &[("children", &children.to_string())]);
        if let Err(error) = again {
            return Ok(json!({ "started": started, "told": error.to_string() }));
        }
    }
    Ok(json!({ "started": children }))
}

/// Starts a job only once it is asked to stop.
pub(crate) fn a_job_when_it_is_told_to_stop(call: &ActionCall) -> Result<String> {
    while !jobs::cancel_requested() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    actions::run(&call.application, "Noop", &[])
}

/// Each of which is taken.
pub(crate) fn so_many_entries(call: &ActionCall) -> Result<()> {
    for _ in 0..call.parameter("count")? {
        jobs::append(LINE)?;
    }
    Ok(())
}

/// Each of nearly the length that is taken.
pub(crate) fn so_many_large_entries(call: &ActionCall) -> Result<()> {
    let entry = "x".repeat(60 << 10);
    for _ in 0..call.parameter("count")? {
        jobs::append(&entry)?;
    }
    Ok(())
}

/// Keeps every timer it gets from the host.
pub(crate) fn handles(_: &ActionCall) -> Result<()> {
    let mut timers = Vec::new();
    loop {
        timers.push(monotonic_clock::subscribe_duration(u64::MAX));
    }
}

/// Takes a megabyte at a time and writes to all of it.
pub(crate) fn memory(_: &ActionCall) -> Result<()> {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Writes what a careless log would show as lines of its own, or as colours.
pub(crate) fn fake_log_lines(_: &ActionCall) -> Result<()> {
    let fake =
        "harmless\n2026-11-22T10:36:00.123Z ERROR elita: the host is on fire\r\n\u{1b}[2J\u{1b}[31mred\u{1b}[0m\u{7}";
    log::info!("{fake}");
    println!("{fake}");
    eprintln!("{fake}");
    Ok(())
}
