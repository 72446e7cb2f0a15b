//! Asking a plugin what it offers, and checking the answer.

use std::collections::BTreeSet;

use super::inspect::Refusal;
use crate::datasvc::{AppName, RegisteredAction, Registration};
use crate::plugin::bindings::PluginPre;
use crate::plugin::bindings::exports::elita::plugin::registration::{ApplicationActions, ApplicationHooks};
use crate::plugin::convert;
use crate::plugin::sandbox::instance::{self, GuestState};
use crate::plugin::sandbox::limits::Limits;

/// The longest name of a parameter or a hook, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The longest description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 4 * 1024;

/// Runs both functions in one instance, and checks what they answer.
///
/// # Errors
/// [`Refusal`] if they trap, take too long, call the host, or answer what cannot be accepted.
pub(crate) async fn register(component: &PluginPre<GuestState>, limits: &Limits) -> Result<Registration, Refusal> {
    let answer = instance::call(component, limits, None, limits.registration(), async |plugin, store| {
        let registration = plugin.elita_plugin_registration();
        let actions = registration.call_register_actions(&mut *store).await?;
        let hooks = registration.call_register_hooks(&mut *store).await?;
        Ok((actions, hooks))
    });
    let (actions, hooks) = answer
        .await
        .map_err(|error| Refusal::new(format!("registering failed ({}): {}", error.code, error.message)))?;
    let registered = Registration { actions: check_actions(actions)?, hooks: check_hooks(hooks)? };
    check_count("actions", registered.actions.len(), limits)?;
    check_count("hooks", registered.hooks.iter().map(|of| of.hooks.len()).sum(), limits)?;
    Ok(registered)
}

fn check_actions(registered: Vec<ApplicationActions>) -> Result<Vec<RegisteredAction>, Refusal> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for ApplicationActions { application, actions } in registered {
        let application = AppName::parse(&*application).map_err(|error| refused_name(&application, &error))?;
        for action in actions {
            let name = action.name.clone();
            let action = convert::action(&application, action).map_err(|error| refused_name(&name, &error))?;
            check_action(&action)?;
            if !names.insert((application.clone(), action.name.clone())) {
                return Err(Refusal::new(format!("it registers action `{name}` of application `{application}` twice")));
            }
            checked.push(action);
        }
    }
    Ok(checked)
}

fn check_action(action: &RegisteredAction) -> Result<(), Refusal> {
    let of_action = |problem: String| Refusal::new(format!("action `{}`: {problem}", action.name));
    check_description(&action.description).map_err(of_action)?;
    if action.timeout_seconds == Some(0) {
        return Err(of_action("a timeout is at least 1 second".into()));
    }
    let mut names = BTreeSet::new();
    for parameter in &action.parameters {
        check_text_name("parameter", &parameter.name).map_err(of_action)?;
        check_description(&parameter.r#type).map_err(of_action)?;
        check_description(&parameter.description).map_err(of_action)?;
        if !names.insert(&parameter.name) {
            return Err(of_action(format!("it declares parameter `{}` twice", parameter.name)));
        }
    }
    Ok(())
}

fn check_hooks(registered: Vec<ApplicationHooks>) -> Result<Vec<crate::datasvc::PluginHooks>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::new();
    for hooks in registered {
        let application = hooks.application.clone();
        let hooks = convert::hooks(hooks).map_err(|error| refused_name(&application, &error))?;
        for hook in &hooks.hooks {
            check_text_name("hook", hook).map_err(Refusal::new)?;
            if !seen.insert((application.clone(), hook.clone())) {
                return Err(Refusal::new(format!("it registers hook `{hook}` of application `{application}` twice")));
            }
        }
        checked.push(hooks);
    }
    Ok(checked)
}

fn check_text_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
        return Err(format!(
            "the name of a {what} is 1 to {MAX_NAME_BYTES} bytes without control characters, not {name:.40?}"
        ));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<(), String> {
    if text.len() > MAX_DESCRIPTION_BYTES || text.contains('\0') {
        return Err(format!("a description is at most {MAX_DESCRIPTION_BYTES} bytes without NUL"));
    }
    Ok(())
}

fn check_count(what: &str, count: usize, limits: &Limits) -> Result<(), Refusal> {
    if count > limits.registrations as usize {
        return Err(Refusal::new(format!("it registers {count} {what}, and this host takes {}", limits.registrations)));
    }
    Ok(())
}

fn refused_name(name: &str, error: &crate::datasvc::Error) -> Refusal {
    Refusal::new(format!("it registers the name {name:.40?}: {error}"))
}
