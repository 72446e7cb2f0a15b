//! The imported interface `remote`.

use super::{Call, HostError};
use crate::datasvc::{AppName, BuildName, Error, PackageName, ServerName};
use crate::plugin::bindings::elita::plugin::remote;
use crate::plugin::effects::{Asking, Content, OnServers, What};
use crate::plugin::sandbox::instance::GuestState;
use crate::remote::{Favor, GitVerb, Os, Outcome, Program, Pull, Report, Shell, System, Verb};

/// How long what works over the network may take, in seconds.
const NETWORK_SECONDS: u32 = 600;
/// The mode of a file unless a call says another one.
const MODE: u32 = 0o644;

type Reports = Result<Vec<remote::Report>, HostError>;

impl remote::Host for GuestState {
    async fn ping(&mut self, servers: Vec<String>, timeout_seconds: Option<u32>) -> Reports {
        let asked = Asked { timeout_seconds, ..Asked::of(Verb::Ping) };
        self.on_servers("remote.ping", servers, asked).await
    }

    async fn operating_systems(&mut self, servers: Vec<String>) -> Result<Vec<remote::System>, HostError> {
        let call = self.call("remote.operating-systems", &[&named(&servers)])?;
        let parsed = parse(&servers)?;
        let found = call.lasting(call.effects.systems(call.asking(), parsed)).await?;
        Ok(servers.into_iter().zip(found).map(Into::into).collect())
    }

    async fn run(&mut self, servers: Vec<String>, command: Vec<String>, options: remote::Options) -> Reports {
        self.on_servers("remote.run", servers, Asked::running(Program::Arguments { command }, options)).await
    }

    async fn run_script(
        &mut self,
        servers: Vec<String>,
        script: String,
        shell: remote::Shell,
        options: remote::Options,
    ) -> Reports {
        let shell = match shell {
            remote::Shell::Sh => Shell::Sh,
            remote::Shell::Powershell => Shell::Powershell,
        };
        self.on_servers("remote.run-script", servers, Asked::running(Program::Script { script, shell }, options)).await
    }

    async fn create_directory(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.create-directory", servers, Asked::of(Verb::CreateDirectory { path })).await
    }

    async fn delete_directory(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.delete-directory", servers, Asked::of(Verb::DeleteDirectory { path })).await
    }

    async fn delete_file(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.delete-file", servers, Asked::of(Verb::DeleteFile { path })).await
    }

    async fn touch(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.touch", servers, Asked::of(Verb::Touch { path })).await
    }

    async fn append_to_file(&mut self, servers: Vec<String>, path: String, bytes: Vec<u8>) -> Reports {
        let verb = Verb::AppendToFile { path, bytes: bytes.into() };
        self.on_servers("remote.append-to-file", servers, Asked::of(verb)).await
    }

    async fn push_file(
        &mut self,
        servers: Vec<String>,
        content: remote::Content,
        path: String,
        mode: Option<u32>,
        timeout_seconds: Option<u32>,
    ) -> Reports {
        let content = content.try_into()?;
        let what = What::Push { content, path, mode: mode.unwrap_or(MODE) };
        let asked = Asked { what, timeout_seconds, ..Asked::of(Verb::Ping) };
        self.on_servers("remote.push-file", servers, asked).await
    }

    async fn git_clone(&mut self, servers: Vec<String>, url: String, path: String, branch: Option<String>) -> Reports {
        let asked = Asked::git(path, GitVerb::Clone { url, branch }).over_the_network();
        self.on_servers("remote.git-clone", servers, asked).await
    }

    async fn git_checkout(&mut self, servers: Vec<String>, path: String, reference: String) -> Reports {
        self.on_servers("remote.git-checkout", servers, Asked::git(path, GitVerb::Checkout { reference })).await
    }

    async fn git_discard_changes(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.git-discard-changes", servers, Asked::git(path, GitVerb::DiscardChanges)).await
    }

    async fn git_add_all(&mut self, servers: Vec<String>, path: String) -> Reports {
        self.on_servers("remote.git-add-all", servers, Asked::git(path, GitVerb::AddAll)).await
    }

    async fn git_commit(&mut self, servers: Vec<String>, path: String, message: String) -> Reports {
        self.on_servers("remote.git-commit", servers, Asked::git(path, GitVerb::Commit { message })).await
    }

    async fn git_set_user(&mut self, servers: Vec<String>, path: String, name: String, email: String) -> Reports {
        self.on_servers("remote.git-set-user", servers, Asked::git(path, GitVerb::SetUser { name, email })).await
    }

    async fn git_set_autocrlf(&mut self, servers: Vec<String>, path: String, value: remote::Autocrlf) -> Reports {
        let value = match value {
            remote::Autocrlf::True => "true",
            remote::Autocrlf::False => "false",
            remote::Autocrlf::Input => "input",
        };
        self.on_servers("remote.git-set-autocrlf", servers, Asked::git(path, GitVerb::SetAutocrlf { value })).await
    }

    async fn git_set_push_url(&mut self, servers: Vec<String>, path: String, url: String) -> Reports {
        self.on_servers("remote.git-set-push-url", servers, Asked::git(path, GitVerb::SetPushUrl { url })).await
    }

    async fn git_pull(&mut self, servers: Vec<String>, path: String, options: remote::PullOptions) -> Reports {
        let asked = Asked::git(path, GitVerb::Pull(options.into())).over_the_network();
        self.on_servers("remote.git-pull", servers, asked).await
    }
}

/// What is asked of each server.
pub(super) struct Asked {
    pub(super) what: What,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) output_bytes: Option<u32>,
    pub(super) secrets: Vec<String>,
}

impl Asked {
    fn of(verb: Verb) -> Self {
        Self { what: What::Verb(verb), timeout_seconds: None, output_bytes: None, secrets: Vec::new() }
    }

    fn running(program: Program, options: remote::Options) -> Self {
        let remote::Options { directory, environment, stdin, timeout_seconds, output_bytes, secrets } = options;
        let verb = Verb::Run { program, cwd: directory, environment, input: stdin.into() };
        Self { what: What::Verb(verb), timeout_seconds, output_bytes, secrets }
    }

    fn git(path: String, git: GitVerb) -> Self {
        Self::of(Verb::Git { git, path })
    }

    fn over_the_network(self) -> Self {
        Self { timeout_seconds: Some(NETWORK_SECONDS), ..self }
    }
}

impl GuestState {
    async fn on_servers(&mut self, operation: &'static str, servers: Vec<String>, asked: Asked) -> Reports {
        Ok(self.reports(operation, servers, asked).await?.into_iter().map(Into::into).collect())
    }

    /// Does something on servers: what it came to on each, in their order.
    pub(super) async fn reports(
        &mut self,
        operation: &'static str,
        servers: Vec<String>,
        asked: Asked,
    ) -> Result<Vec<(String, Report)>, HostError> {
        let call = self.call(operation, &[&named(&servers)])?;
        let Asked { what, timeout_seconds, output_bytes, secrets } = asked;
        let parsed = parse(&servers)?;
        let asked = OnServers { operation, servers: parsed, what, timeout_seconds, output_bytes, secrets };
        let reports = call.lasting(call.effects.on_servers(call.asking(), asked)).await?;
        Ok(servers.into_iter().zip(reports).collect())
    }
}

impl Call<'_> {
    fn asking(&self) -> Asking<'_> {
        Asking { caller: &self.caller, parent: self.parent(), log: &self.log, is_cancelled: &*self.cancel_requested }
    }
}

/// The servers of a call, for the trace: the first one, and how many there are more.
fn named(servers: &[String]) -> String {
    match servers {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

fn parse(servers: &[String]) -> Result<Vec<ServerName>, Error> {
    servers.iter().map(|server| ServerName::parse(&**server)).collect()
}

impl TryFrom<remote::Content> for Content {
    type Error = Error;

    fn try_from(content: remote::Content) -> Result<Self, Error> {
        Ok(match content {
            remote::Content::Bytes(bytes) => Self::Bytes(bytes.into()),
            remote::Content::BuildPackage(remote::BuildPackage { application, build, package }) => {
                Self::Package(AppName::parse(application)?, BuildName::parse(build)?, PackageName::parse(package)?)
            }
        })
    }
}

impl From<remote::PullOptions> for Pull {
    fn from(options: remote::PullOptions) -> Self {
        let remote::PullOptions { remote, branch, favor, patience, ignore_all_space } = options;
        let favor = favor.map(|favor| match favor {
            remote::Favor::Ours => Favor::Ours,
            remote::Favor::Theirs => Favor::Theirs,
        });
        Self { remote, branch, favor, patience, ignore_all_space }
    }
}

impl From<(String, Report)> for remote::Report {
    fn from((server, report): (String, Report)) -> Self {
        let Report {
            outcome,
            exit_code,
            signal,
            timed_out,
            stdout,
            stderr,
            truncated,
            message,
            duration_in_seconds: duration,
            // It is in the message.
            input_exposed: _,
        } = report;
        let outcome = match outcome {
            Outcome::Ok => remote::Outcome::Ok,
            Outcome::Failed => remote::Outcome::Failed,
            Outcome::NoResponse => remote::Outcome::NoResponse,
            Outcome::Unknown => remote::Outcome::Unknown,
        };
        Self { server, outcome, exit_code, signal, timed_out, stdout, stderr, truncated, message, duration }
    }
}

impl From<(String, Result<System, String>)> for remote::System {
    fn from((server, found): (String, Result<System, String>)) -> Self {
        match found {
            Ok(System { os, name }) => {
                let os = match os {
                    Os::Unix => remote::Os::Unix,
                    Os::Windows => remote::Os::Windows,
                };
                Self { server, os: Some(os), name: Some(name), message: None }
            }
            Err(message) => Self { server, os: None, name: None, message: Some(message) },
        }
    }
}
