//! Looking for a way out of the sandbox.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::{env, fs, io};

use elita_plugin::prelude::*;

/// Returns what there is to see of the world outside: for every attempt `null` if it worked, or why it did not.
pub(crate) fn environment(_: &ActionCall) -> Result<Value> {
    Ok(json!({
        "variables": env::vars().collect::<Vec<_>>(),
        "arguments": env::args().collect::<Vec<_>>(),
        "read_root": why_not(fs::read_dir("/")),
        "read_working_directory": why_not(fs::read_dir(".")),
        "read_file": why_not(fs::read("/etc/passwd")),
        "write_file": why_not(fs::write("/tmp/misbehave", "was here")),
        "connect": why_not(TcpStream::connect("127.0.0.1:1")),
        "listen": why_not(TcpListener::bind("127.0.0.1:0")),
        "send": why_not(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"hello", "127.0.0.1:1"))),
        "resolve": why_not("localhost:1".to_socket_addrs()),
    }))
}

fn why_not<T>(attempt: io::Result<T>) -> Option<String> {
    attempt.err().map(|error| error.to_string())
}

/// Adds a package to a build where no hook runs, and reads one.
pub(crate) fn add_package(call: &ActionCall) -> Result<Value> {
    let build: String = call.parameter("build")?;
    let added = builds::add_package(&call.application, &build, "late", "zip");
    let mut master = builds::read_package(&call.application, &build, "master");
    let read = std::io::copy(&mut master, &mut std::io::sink())?;
    Ok(json!({ "add": added.err().and_then(|error| error.code()).map(|code| code.as_str()), "read": read }))
}
