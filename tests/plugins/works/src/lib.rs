//! What works in Rust, and what does not: tries one thing after the other, and returns what came of each.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "works": [action("Works", works).description("Tries what the guide says").parameter("url", "url", "a server")],
    },
    hooks: {
        "works": { hooks::BUILD_UPLOAD_SUCCESS: files },
    },
}

fn works(call: &ActionCall) -> Result<Value> {
    let url: String = call.parameter("url")?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(60));
    let environment: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
    Ok(json!({
        "random": RandomState::new().build_hasher().finish().to_string(),
        "clock": SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        "slept": began.elapsed().as_millis(),
        "http": http::get(&url).send()?.text(),
        "other_http": tried(ureq::get(&url).call()),
        "write": tried(std::fs::write("/tmp/a", "a")),
        "list": tried(std::fs::read_dir("/")),
        "thread": tried(std::thread::Builder::new().spawn(|| ())),
        "process": tried(std::process::Command::new("true").status()),
        "socket": tried(TcpStream::connect("127.0.0.1:1")),
        "environment": environment,
    }))
}

/// Reads the file of a build, and tries to write beside it.
fn files(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    let mut first = [0; 2];
    build.open("master")?.read_exact(&mut first)?;
    let beside = build.path("master")?.with_file_name("beside");
    Ok(json!({ "first": String::from_utf8_lossy(&first), "write": tried(std::fs::write(beside, "a")) }))
}

fn tried<T, E: Display>(result: std::result::Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "it works".into())
}
