//! Takes the place of the host in `cargo test`, on the author's machine: actions and hooks run without a server.
//!
//! A [`Host`] has applications, builds, actions of other plugins, servers to work on, and servers that answer by HTTP, as
//! far as the test gives it some. What runs on it calls [`jobs`](crate::jobs), [`log`](mod@crate::log),
//! [`builds`](crate::builds), [`applications`](crate::applications), [`actions`](crate::actions),
//! [`remote`](crate::remote) and [`http`](crate::http) as on a server; the test looks at what was recorded, made, started,
//! called and sent.
//!
//! ```
//! use elita_plugin::prelude::*;
//! use elita_plugin::testing::Host;
//!
//! fn approve(call: &ActionCall) -> Result<Value> {
//!     let build: String = call.parameter("build")?;
//!     builds::update(&call.application, &build, &json!({ "attributes": { "approved": true } }))?;
//!     jobs::progress(100, "approved")?;
//!     Ok(json!({ "job": actions::run(&call.application, "Deploy", &[("build", &build)])? }))
//! }
//!
//! let mut host = Host::new().build("shop", "124-master", json!({})).action("shop", "Deploy", json!("deployed"));
//! let call = ActionCall::new("shop", "Approve", [("build", "124-master")]);
//! host.run(|| approve(&call)).unwrap();
//! assert_eq!(host.build_attributes("shop", "124-master"), Some(json!({ "approved": true })));
//! assert_eq!(host.entries(), [json!({ "status": "approved", "progress": 100 })]);
//! assert_eq!(host.started()[0].parameters, [("build".to_owned(), "124-master".to_owned())]);
//! ```
//!
//! An [`Upload`] fires `BUILD_UPLOAD_SUCCESS`, with the files of a build:
//!
//! ```
//! use elita_plugin::prelude::*;
//! use elita_plugin::{Plugin, testing};
//!
//! fn count_bytes(call: &HookCall) -> Result<u64> {
//!     let build: hooks::BuildUploadSuccess = call.parameters()?;
//!     jobs::append(&json!({ "status": "counting", "build": build.build_name }))?;
//!     Ok(std::io::copy(&mut build.open("master")?, &mut std::io::sink())?)
//! }
//!
//! let plugin = Plugin::new().hook("my_application", "BUILD_UPLOAD_SUCCESS", count_bytes);
//! let upload = testing::Upload::new("my_application", "124-master", "zip", b"five!");
//! let fired = upload.fire(&plugin);
//! assert_eq!(fired.result.unwrap(), json!(5));
//! assert_eq!(fired.entries, [json!({ "status": "counting", "build": "124-master" })]);
//! ```
//!
//! Servers answer to commands as the test says, and nothing runs anywhere:
//!
//! ```
//! use elita_plugin::prelude::*;
//! use elita_plugin::remote::Command;
//! use elita_plugin::testing::{Answer, Called, Host};
//!
//! fn restart(call: &ActionCall) -> Result<()> {
//!     let servers: Vec<String> = call.parameter("server")?;
//!     remote::all_ok(&remote::run(&servers, &Command::new(["systemctl", "restart", "shop"]).timeout(30))?)
//! }
//!
//! let full = |called: &Called| match &*called.function {
//!     "run" => Answer::exit(1).stderr("no space left on device"),
//!     _ => Answer::ok(),
//! };
//! let mut host = Host::new().server("web1", |_| Answer::ok()).server("web2", full);
//! let call = ActionCall::new("shop", "Restart", [("server", "web1"), ("server", "web2")]);
//! let error = host.run(|| restart(&call)).unwrap_err();
//! assert_eq!(error.to_string(), "1 of 2 servers did not do it: web2");
//! assert_eq!(host.called()[0].command(), "systemctl restart shop");
//! assert_eq!(host.called()[0].arguments["timeout_seconds"], 30);
//! ```
//!
//! A function of the host that is called where no [`Host`] runs panics, and says so; so does one of an interface that
//! [`Host`] does not have: `deployments`, `git_providers`, `git_repos`, `gitdeploys`, `groups`, `package_maps`, `salt` and
//! `servers`.
//! There are no grants here, and no limits but those of an entry and of a percentage.

pub(crate) mod host;
mod upload;

pub use self::host::{Answer, Called, Host, Sent, Started};
pub use self::upload::{Fired, Package, Upload, fire};
pub use crate::log::Level;

#[cfg(test)]
mod tests;
