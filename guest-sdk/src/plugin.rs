//! How actions and hooks are declared, and how a call finds its function.

use serde::Serialize;

use crate::bindings::exports::elita::plugin::{handler, registration};
use crate::{ActionCall, Error, HookCall, Result, log};

#[cfg(test)]
mod tests;

/// Any action's function: it answers with JSON text.
type RunAction = Box<dyn Fn(&ActionCall) -> Result<String>>;
/// Any hook's function.
type RunHook = Box<dyn Fn(&HookCall) -> Result<String>>;

/// An action as it is declared in [`plugin!`](crate::plugin!): see [`action`].
pub struct Action {
    declaration: registration::Action,
    run: RunAction,
}

/// Declares an action: the name of its endpoint, and the function that runs. What the function returns is the
/// job's result.
///
/// ```
/// use elita_plugin::prelude::*;
///
/// fn greet(call: &ActionCall) -> Result<String> {
///     Ok(format!("hello, {}", call.parameter::<String>("name")?))
/// }
///
/// let greet = action("Greet", greet)
///     .description("Greets someone")
///     .parameter("name", "string", "whom to greet")
///     .optional_parameter("times", "integer", "how often")
///     .idempotent()
///     .timeout_seconds(60);
/// ```
///
/// An `async fn` is not an action: nobody would wait for it.
///
/// ```compile_fail
/// use elita_plugin::prelude::*;
///
/// async fn greet(_: &ActionCall) -> Result<String> {
///     Ok("hello".into())
/// }
///
/// action("Greet", greet);
/// ```
pub fn action<T: Serialize>(name: impl Into<String>, function: impl Fn(&ActionCall) -> Result<T> + 'static) -> Action {
    Action {
        declaration: registration::Action {
            name: name.into(),
            description: String::new(),
            parameters: Vec::new(),
            idempotent: false,
            timeout_seconds: None,
        },
        run: Box::new(move |call| to_json(&function(call)?)),
    }
}

impl Action {
    /// Says what the action does, in a sentence.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.declaration.description = description.into();
        self
    }

    /// Declares a parameter that every request must have. Its type is described for people and not enforced.
    #[must_use]
    pub fn parameter(
        mut self,
        name: impl Into<String>,
        type_: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.declaration.parameters.push(registration::Parameter {
            name: name.into(),
            type_: type_.into(),
            description: description.into(),
        });
        self
    }

    /// Declares a parameter that a request may lack, so that people and forms know of it: the function looks for it when
    /// it runs, by `call.parameter::<Option<…>>("…")`.
    #[must_use]
    pub fn optional_parameter(
        self,
        name: impl Into<String>,
        type_: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        let type_ = type_.into();
        self.parameter(name, format!("{type_}?"), description)
    }

    /// Allows the host to run the action again when it died while the action ran.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.declaration.idempotent = true;
        self
    }

    /// Sets the wall-clock limit of a run, at least 1. Without one the host's default holds, and the host's
    /// maximum always does.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.declaration.timeout_seconds = Some(seconds);
        self
    }
}

struct Hook {
    name: String,
    run: RunHook,
}

/// A plugin's actions and hooks, by application. [`plugin!`](crate::plugin!) makes one; by hand it is good for
/// tests of a whole plugin.
///
/// ```
/// use elita_plugin::prelude::*;
/// use elita_plugin::Plugin;
///
/// fn greet(call: &ActionCall) -> Result<String> {
///     Ok(format!("hello, {}", call.parameter::<String>("name")?))
/// }
///
/// let plugin = Plugin::new().action("my_application", action("Greet", greet));
/// let call = ActionCall::new("my_application", "Greet", [("name", "Ada")]);
/// assert_eq!(plugin.run_action(&call).unwrap(), r#""hello, Ada""#);
/// ```
#[derive(Default)]
pub struct Plugin {
    actions: Vec<(String, Vec<Action>)>,
    hooks: Vec<(String, Vec<Hook>)>,
}

impl Plugin {
    /// A plugin that offers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action to an application.
    #[must_use]
    pub fn action(mut self, application: impl Into<String>, action: Action) -> Self {
        entry(&mut self.actions, application.into()).push(action);
        self
    }

    /// Adds actions to an application.
    #[must_use]
    pub fn actions(mut self, application: impl Into<String>, actions: impl IntoIterator<Item = Action>) -> Self {
        entry(&mut self.actions, application.into()).extend(actions);
        self
    }

    /// Adds a hook to an application: the function runs when the named point is reached, and what it returns is
    /// recorded in the job.
    #[must_use]
    pub fn hook<T: Serialize>(
        mut self,
        application: impl Into<String>,
        name: impl Into<String>,
        function: impl Fn(&HookCall) -> Result<T> + 'static,
    ) -> Self {
        let run: RunHook = Box::new(move |call| to_json(&function(call)?));
        entry(&mut self.hooks, application.into()).push(Hook { name: name.into(), run });
        self
    }

    /// Runs the action that a call asks for and returns its result as JSON text.
    ///
    /// # Errors
    /// The action's own, and one for an action that the plugin does not have.
    pub fn run_action(&self, call: &ActionCall) -> Result<String> {
        let ActionCall { application, action, .. } = call;
        let found = of(&self.actions, application).iter().find(|known| known.declaration.name == *action);
        let found = found.ok_or_else(|| Error::new(format!("no action `{action}` for application `{application}`")))?;
        (found.run)(call)
    }

    /// Runs the hook that a call asks for and returns its result as JSON text.
    ///
    /// # Errors
    /// The hook's own, and one for a hook that the plugin does not have.
    pub fn run_hook(&self, call: &HookCall) -> Result<String> {
        let HookCall { application, hook, .. } = call;
        let found = of(&self.hooks, application).iter().find(|known| known.name == *hook);
        let found = found.ok_or_else(|| Error::new(format!("no hook `{hook}` for application `{application}`")))?;
        (found.run)(call)
    }
}

/// A type that stands for the whole component; [`plugin!`](crate::plugin!) makes it. The exports follow from it.
#[doc(hidden)]
pub trait Exports {
    /// The path of the module that has the `plugin!`.
    const CRATE: &'static str;

    fn plugin() -> Plugin;
}

impl<T: Exports> registration::Guest for T {
    fn register_actions() -> Vec<registration::ApplicationActions> {
        let of_application = |(application, actions): (String, Vec<Action>)| registration::ApplicationActions {
            application,
            actions: actions.into_iter().map(|action| action.declaration).collect(),
        };
        log::install(Some(T::CRATE));
        T::plugin().actions.into_iter().map(of_application).collect()
    }

    fn register_hooks() -> Vec<registration::ApplicationHooks> {
        let of_application = |(application, hooks): (String, Vec<Hook>)| registration::ApplicationHooks {
            application,
            hooks: hooks.into_iter().map(|hook| hook.name).collect(),
        };
        log::install(Some(T::CRATE));
        T::plugin().hooks.into_iter().map(of_application).collect()
    }
}

impl<T: Exports> handler::Guest for T {
    fn run_action(call: handler::ActionCall) -> Result<String, handler::Failure> {
        log::install(Some(T::CRATE));
        Ok(T::plugin().run_action(&call.into())?)
    }

    fn run_hook(call: handler::HookCall) -> Result<String, handler::Failure> {
        log::install(Some(T::CRATE));
        Ok(T::plugin().run_hook(&call.into())?)
    }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// The list of one application, so that each application is registered once.
fn entry<T>(all: &mut Vec<(String, Vec<T>)>, application: String) -> &mut Vec<T> {
    let index = all.iter().position(|(known, _)| *known == application).unwrap_or(all.len());
    if index == all.len() {
        all.push((application, Vec::new()));
    }
    &mut all[index].1
}

fn of<'a, T>(all: &'a [(String, Vec<T>)], application: &str) -> &'a [T] {
    all.iter().find(|(known, _)| known == application).map_or(&[], |(_, list)| list)
}

/// Declares what the plugin offers and exports it to the host; once in a crate, which is a `cdylib`.
///
/// `actions` lists the actions of each application, `hooks` maps hook names to functions; either may be left out, and
/// they may be in any order. All names, lists and functions are expressions.
///
/// ```no_run
/// use elita_plugin::prelude::*;
///
/// fn greet(call: &ActionCall) -> Result<String> {
///     Ok(format!("hello, {}", call.parameter::<String>("name")?))
/// }
///
/// fn note_build(call: &HookCall) -> Result<()> {
///     let build: hooks::BuildUploadSuccess = call.parameters()?;
///     jobs::append(&json!({ "status": "noted", "build": build.build_name }))?;
///     Ok(())
/// }
///
/// elita_plugin::plugin! {
///     actions: {
///         "my_application": [
///             action("Greet", greet).description("Greets someone").parameter("name", "string", "whom to greet"),
///         ],
///     },
///     hooks: {
///         "my_application": { "BUILD_UPLOAD_SUCCESS": note_build },
///     },
/// }
/// # fn main() {}
/// ```
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// use elita_plugin::Action;
///
/// const SHOP: &str = "shop";
///
/// fn nothing(_: &ActionCall) -> Result<()> {
///     Ok(())
/// }
///
/// fn actions_of_blog() -> Vec<Action> {
///     ["Publish", "Retract"].map(|name| action(name, nothing)).into()
/// }
///
/// elita_plugin::plugin! {
///     hooks: {
///         SHOP: { hooks::BUILD_UPLOAD_SUCCESS: |call: &HookCall| Ok(call.job.clone()) },
///     },
///     actions: {
///         SHOP: [action("Nothing", nothing)],
///         concat!("bl", "og"): actions_of_blog(),
///     },
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    ($($sections:tt)*) => {
        const _: () = {
            struct __Plugin;

            impl $crate::Exports for __Plugin {
                const CRATE: &'static str = ::std::module_path!();

                fn plugin() -> $crate::Plugin {
                    let plugin = $crate::Plugin::new();
                    $crate::__sections!(plugin; $($sections)*);
                    plugin
                }
            }

            $crate::bindings::export!(__Plugin with_types_in $crate::bindings);
        };
    };
}

/// The parts of [`plugin!`](crate::plugin!), in any order.
#[doc(hidden)]
#[macro_export]
macro_rules! __sections {
    ($plugin:ident;) => {};
    ($plugin:ident; actions: { $($declared:tt)* }, $($rest:tt)*) => {
        $crate::__sections!($plugin; actions: { $($declared)* } $($rest)*);
    };
    ($plugin:ident; hooks: { $($declared:tt)* }, $($rest:tt)*) => {
        $crate::__sections!($plugin; hooks: { $($declared)* } $($rest)*);
    };
    ($plugin:ident; actions: { $($declared:tt)* } $($rest:tt)*) => {
        $crate::__actions!($plugin [] $($declared)*);
        $crate::__sections!($plugin; $($rest)*);
    };
    ($plugin:ident; hooks: { $($declared:tt)* } $($rest:tt)*) => {
        $crate::__hooks!($plugin [] $($declared)*);
        $crate::__sections!($plugin; $($rest)*);
    };
}

/// `application: actions`, of which both are expressions: what is before the colon is gathered first, because the
/// compiler takes no expression there.
#[doc(hidden)]
#[macro_export]
macro_rules! __actions {
    ($plugin:ident []) => {};
    ($plugin:ident [$($application:tt)+] : $actions:expr $(, $($rest:tt)*)?) => {
        let $plugin = $plugin.actions($($application)+, $actions);
        $crate::__actions!($plugin [] $($($rest)*)?);
    };
    ($plugin:ident [$($application:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__actions!($plugin [$($application)* $next] $($rest)*);
    };
}

/// `application: { hook: function }`, as above.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks {
    ($plugin:ident []) => {};
    ($plugin:ident [$($application:tt)+] : { $($declared:tt)* } $(, $($rest:tt)*)?) => {
        let $plugin = $crate::__hooks_of!($plugin ($($application)+) [] $($declared)*);
        $crate::__hooks!($plugin [] $($($rest)*)?);
    };
    ($plugin:ident [$($application:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__hooks!($plugin [$($application)* $next] $($rest)*);
    };
}

/// `hook: function` of one application.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks_of {
    ($plugin:ident $application:tt [] $($declared:tt)*) => {
        $crate::__hooks_of!(($plugin) $application [] $($declared)*)
    };
    (($($plugin:tt)*) $application:tt []) => { $($plugin)* };
    (($($plugin:tt)*) $application:tt [$($hook:tt)+] : $function:expr $(, $($rest:tt)*)?) => {
        $crate::__hooks_of!(($($plugin)*.hook($application, $($hook)+, $function)) $application [] $($($rest)*)?)
    };
    (($($plugin:tt)*) $application:tt [$($hook:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__hooks_of!(($($plugin)*) $application [$($hook)* $next] $($rest)*)
    };
}
