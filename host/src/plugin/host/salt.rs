//! The imported interface `salt`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{HostError, from_json};
use crate::datasvc::Error;
use crate::plugin::bindings::elita::plugin::salt;
use crate::plugin::effects::What;
use crate::plugin::host::remote::Asked;
use crate::plugin::sandbox::instance::GuestState;
use crate::remote::{Outcome, Report, SaltFunction};

/// How long a call may take unless it says so itself, in seconds.
const TIMEOUT_SECONDS: u32 = 60;
/// How much is kept of what a minion returns, in bytes.
const VALUE_BYTES: u32 = 128 * 1024;

type Returns = Result<Vec<salt::MinionReturn>, HostError>;

impl salt::Host for GuestState {
    async fn salt_command(
        &mut self,
        servers: Vec<String>,
        function: String,
        arguments: Vec<String>,
        keyword_arguments: Vec<(String, String)>,
        timeout_seconds: Option<u32>,
    ) -> Returns {
        let arguments = arguments.into_iter().map(|text| from_json("arguments", text));
        let arguments = arguments.collect::<Result<Vec<Value>, Error>>()?;
        let named = keyword_arguments.into_iter().map(|(name, text)| Ok((name, from_json("keyword-arguments", text)?)));
        let named = named.collect::<Result<Vec<(String, Value)>, Error>>()?;
        self.salt("salt.salt-command", servers, (function, arguments, named), timeout_seconds).await
    }

    async fn run_sls(&mut self, servers: Vec<String>, sls: String, timeout_seconds: Option<u32>) -> Returns {
        let named = vec![("mods".to_owned(), json!(sls))];
        self.salt("salt.run-sls", servers, ("state.sls".into(), Vec::new(), named), timeout_seconds).await
    }

    async fn highstate(&mut self, servers: Vec<String>, timeout_seconds: Option<u32>) -> Returns {
        self.salt("salt.highstate", servers, ("state.highstate".into(), Vec::new(), Vec::new()), timeout_seconds).await
    }
}

impl GuestState {
    async fn salt(
        &mut self,
        operation: &'static str,
        servers: Vec<String>,
        (function, arguments, keyword_arguments): (String, Vec<Value>, Vec<(String, Value)>),
        timeout_seconds: Option<u32>,
    ) -> Returns {
        let seconds = timeout_seconds.unwrap_or(TIMEOUT_SECONDS);
        let timeout = Duration::from_secs(seconds.into());
        let function = SaltFunction { function, arguments, keyword_arguments, timeout };
        let asked = Asked {
            what: What::Salt(function),
            timeout_seconds: Some(seconds),
            output_bytes: Some(VALUE_BYTES),
            secrets: Vec::new(),
        };
        let returned = self.reports(operation, servers, asked).await?;
        Ok(returned.into_iter().map(Into::into).collect())
    }
}

impl From<(String, Report)> for salt::MinionReturn {
    fn from((server, report): (String, Report)) -> Self {
        let Report { outcome, exit_code, timed_out, stdout, message, .. } = report;
        let outcome = match outcome {
            Outcome::Ok => salt::Outcome::Ok,
            Outcome::Failed => salt::Outcome::Failed,
            Outcome::NoResponse => salt::Outcome::NoResponse,
            Outcome::Unknown => salt::Outcome::Unknown,
        };
        let value = (!stdout.is_empty()).then_some(stdout);
        Self { server, outcome, value, retcode: exit_code, timed_out, message }
    }
}
