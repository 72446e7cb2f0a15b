//! The imported interface `git-providers`.

use super::{HostError, names, page};
use crate::datasvc::{Error, GitProvider, GitProviderName};
use crate::plugin::bindings::elita::plugin::git_providers;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl git_providers::Host for GuestState {
    async fn get(&mut self, provider: String) -> Result<git_providers::GitProvider, HostError> {
        let call = self.call("git-providers.get", &[&provider])?;
        let provider = GitProviderName::parse(provider)?;
        let provider = call.timed(call.svc.git_provider(&call.caller, &provider)).await?;
        Ok(provider.try_into()?)
    }

    async fn list(&mut self, part: Page) -> Result<Names, HostError> {
        let call = self.call("git-providers.list", &[])?;
        let part = page(part)?;
        let listed = call.timed(call.svc.git_providers(&call.caller, &part)).await?;
        Ok(names(listed, |provider| provider.name.to_string()))
    }
}

impl TryFrom<GitProvider> for git_providers::GitProvider {
    type Error = Error;

    fn try_from(provider: GitProvider) -> Result<Self, Error> {
        let GitProvider { name, r#type, base_url, has_auth: _, attributes, created_at, updated_at, revision: _ } =
            provider;
        Ok(Self {
            name: name.to_string(),
            type_: r#type.as_str().into(),
            base_url: base_url.map(|url| url.to_string()),
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
