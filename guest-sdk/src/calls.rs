//! What an action and a hook are called with.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::elita::plugin::handler;
use crate::{Error, Result, parameters};

#[cfg(test)]
mod tests;

/// The job of a call that was made for a test.
pub(crate) const TEST_JOB: &str = "00000000-0000-0000-0000-000000000000";

/// A request to run an action.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ActionCall {
    /// The application the action was called for.
    pub application: String,
    /// The action's name, as registered.
    pub action: String,
    /// Names and values in the order of the request. Every declared parameter is there, there may be more, and
    /// names may repeat.
    pub parameters: Vec<(String, String)>,
    /// The id of the job this run belongs to.
    pub job: String,
    /// 1, and more when an idempotent action is run again.
    pub attempt: u32,
    /// Who asked, for the record. The plugin acts with its own grants, never with the user's.
    pub user: Option<String>,
}

impl ActionCall {
    /// A call to test an action with.
    ///
    /// ```
    /// use elita_plugin::prelude::*;
    ///
    /// fn double(call: &ActionCall) -> Result<u32> {
    ///     Ok(call.parameter::<u32>("count")? * 2)
    /// }
    ///
    /// let call = ActionCall::new("my_application", "Double", [("count", "21")]);
    /// assert_eq!(double(&call).unwrap(), 42);
    /// ```
    pub fn new<N: Into<String>, V: Into<String>>(
        application: impl Into<String>,
        action: impl Into<String>,
        parameters: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            application: application.into(),
            action: action.into(),
            parameters: parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            job: TEST_JOB.into(),
            attempt: 1,
            user: None,
        }
    }

    /// The parameter with this name, as a number, a `bool`, a text, or an enum without fields.
    ///
    /// It must be there exactly once, unless an `Option` (at most once) or a `Vec` (any number of times) is
    /// asked for. A struct, a map or a tuple is read from the value as JSON.
    ///
    /// ```
    /// use elita_plugin::prelude::*;
    ///
    /// let call = ActionCall::new("my_application", "DeleteWidgets", [("count", "ten"), ("tag", "a"), ("tag", "b")]);
    /// assert_eq!(call.parameter::<Vec<String>>("tag").unwrap(), ["a", "b"]);
    /// assert_eq!(call.parameter::<Option<bool>>("testing").unwrap(), None);
    /// assert_eq!(
    ///     call.parameter::<u32>("count").unwrap_err().to_string(),
    ///     "parameter `count`: `ten` is not an integer of 0 to 4294967295",
    /// );
    /// ```
    ///
    /// # Errors
    /// It is not there, there more than once, or not what was asked for; the message says which.
    pub fn parameter<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        parameters::decode_one(&self.parameters, name)
    }

    /// All parameters as a struct, field by field as [`parameter`](Self::parameter) reads them.
    ///
    /// Parameters without a field are ignored. A field that may be absent is an `Option` or has
    /// `#[serde(default)]`.
    ///
    /// ```
    /// use elita_plugin::prelude::*;
    ///
    /// #[derive(Deserialize)]
    /// struct Parameters {
    ///     count: u32,
    ///     testing: Option<bool>,
    ///     #[serde(default)]
    ///     tag: Vec<String>,
    /// }
    ///
    /// let call = ActionCall::new("my_application", "DeleteWidgets", [("count", "10"), ("tag", "old")]);
    /// let Parameters { count, testing, tag } = call.parameters_as().unwrap();
    /// assert_eq!((count, testing, tag), (10, None, vec!["old".to_owned()]));
    /// ```
    ///
    /// # Errors
    /// Those of [`parameter`](Self::parameter), for the first parameter that has one.
    pub fn parameters_as<T: DeserializeOwned>(&self) -> Result<T> {
        parameters::decode_all(&self.parameters)
    }
}

impl From<handler::ActionCall> for ActionCall {
    fn from(call: handler::ActionCall) -> Self {
        let handler::ActionCall { application, action, parameters, job, attempt, user } = call;
        Self { application, action, parameters, job, attempt, user }
    }
}

/// A named point of an operation that was reached.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HookCall {
    /// The application in which the operation runs.
    pub application: String,
    /// The hook's name, such as `BUILD_UPLOAD_SUCCESS`.
    pub hook: String,
    /// The id of the operation's job.
    pub job: String,
    parameters: String,
}

impl HookCall {
    /// A call to test a hook with.
    ///
    /// ```
    /// use elita_plugin::prelude::*;
    ///
    /// let call = HookCall::new("my_application", "SOME_HOOK", json!({ "build": "123-master" }));
    /// assert_eq!(call.parameters::<Value>().unwrap()["build"], "123-master");
    /// ```
    pub fn new(application: impl Into<String>, hook: impl Into<String>, parameters: Value) -> Self {
        Self {
            application: application.into(),
            hook: hook.into(),
            job: TEST_JOB.into(),
            parameters: parameters.to_string(),
        }
    }

    /// The hook's parameters: one of the structs in [`hooks`](crate::hooks), one's own, or a JSON value.
    ///
    /// ```
    /// use elita_plugin::prelude::*;
    ///
    /// let call = HookCall::new(
    ///     "my_application",
    ///     "GITDEPLOY_INIT_PRE",
    ///     json!({ "server_list": ["server01"], "gitdeploy": { "name": "web" } }),
    /// );
    /// let hooks::GitdeployServers { server_list, .. } = call.parameters().unwrap();
    /// assert_eq!(server_list, ["server01"]);
    /// ```
    ///
    /// # Errors
    /// They are not what was asked for.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.parameters)
            .map_err(|error| Error::new(format!("the parameters of hook `{}`: {error}", self.hook)))
    }
}

impl From<handler::HookCall> for HookCall {
    fn from(call: handler::HookCall) -> Self {
        let handler::HookCall { application, hook, parameters, job } = call;
        Self { application, hook, job, parameters }
    }
}
