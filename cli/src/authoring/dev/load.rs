//! Putting a component into the plugin directory, and waiting for what the server says of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Project;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::output::visible;
use crate::session::{Session, segment, shown_parameters, text};

/// How long the server may take: what brings an interpreter along is compiled for seconds.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is in force, as far as it is known here.
pub(super) struct Loaded {
    digest: String,
    /// What it registers, a line for each.
    registered: BTreeSet<String>,
}

/// Loads what was built, unless it is what is there already. True: it is in force.
pub(super) async fn load(session: &Session, project: &Project, loaded: &mut Option<Loaded>) -> Result<bool> {
    let output = &session.output;
    let bytes = std::fs::read(&project.file).map_err(|error| {
        Failure::file("read", &project.file, &error).hint("`file` in plugin.toml says what the build makes")
    })?;
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hex}");
    if loaded.as_ref().is_some_and(|loaded| loaded.digest == digest) {
        output.note("nothing has changed in the component");
        return Ok(true);
    }
    let path = format!("/global/plugins/{}", segment(&project.name));
    let before = find(session, &path).await?;
    let old = match loaded.take() {
        Some(loaded) => loaded.registered,
        None => before.as_ref().map(lines).unwrap_or_default(),
    };
    put(project, &bytes)?;
    let plugin = settled(session, &path, &digest, before.as_ref()).await?;
    if plugin["digest"] != *digest {
        output.warn(format!("✗ the server refused it: {}", visible(text(&plugin, "last_error"))));
        return Ok(false);
    }
    output.note(format!("✓ {} is in force, version {}", project.name, plugin["version"]));
    let registered = lines(&plugin);
    for gone in old.difference(&registered) {
        output.note(format!("  - {gone}"));
    }
    for new in registered.difference(&old) {
        output.note(format!("  + {new}"));
    }
    *loaded = Some(Loaded { digest, registered });
    Ok(true)
}

/// By rename, so that the server never sees half of it.
fn put(project: &Project, bytes: &[u8]) -> Result<()> {
    let to = project.directory.join(format!("{}.wasm", project.name));
    let failed = |error: std::io::Error| Failure::file("write", &to, &error);
    let mut file = tempfile::Builder::new().suffix(".new").tempfile_in(&project.directory).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    // The server may run as another user.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed)?;
    file.persist(&to).map_err(|error| failed(error.error))?;
    Ok(())
}

async fn find(session: &Session, path: &str) -> Result<Option<Value>> {
    match session.client.get(path).await {
        Ok(plugin) => Ok(Some(plugin)),
        Err(failure) if failure.status() == Some(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The plugin's document, once the server has looked at the file.
async fn settled(session: &Session, path: &str, digest: &str, before: Option<&Value>) -> Result<Value> {
    let began = Instant::now();
    loop {
        if let Some(plugin) = find(session, path).await? {
            let is_compiling = plugin["state"] == "compiling";
            let is_in_force = plugin["digest"] == *digest && plugin["last_error"].is_null();
            // Whatever it said of an earlier file, it says with an earlier time.
            let is_news = before.is_none_or(|before| before["updated_at"] != plugin["updated_at"]);
            if !is_compiling && (is_in_force || (is_news && !plugin["last_error"].is_null())) {
                return Ok(plugin);
            }
        }
        if began.elapsed() > WITHIN {
            return Err(Failure::new(Code::Unreachable, "the server has not looked at the file")
                .hint("is the directory of --dir that of the server?"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a plugin registers, a line for each action and hook.
fn lines(plugin: &Value) -> BTreeSet<String> {
    let actions = plugin["actions"].as_array().into_iter().flatten().map(|action| {
        format!("action {} {} {}", text(action, "application"), text(action, "name"), shown_parameters(action))
            .trim_end()
            .to_owned()
    });
    let hooks = plugin["hooks"].as_array().into_iter().flatten().flat_map(|of| {
        let hooks = of["hooks"].as_array().into_iter().flatten();
        hooks.map(|hook| format!("hook {} {}", text(of, "application"), hook.as_str().unwrap_or_default()))
    });
    actions.chain(hooks).collect()
}
