//! The imported interface `servers`.

use super::{HostError, attributes, change, from_json, names, page};
use crate::datasvc::{Driver, EnvironmentName, Error, Expected, NewServer, Server, ServerName};
use crate::plugin::bindings::elita::plugin::servers;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl servers::Host for GuestState {
    async fn get(&mut self, server: String) -> Result<servers::Server, HostError> {
        let call = self.call("servers.get", &[&server])?;
        let server = ServerName::parse(server)?;
        Ok(call.timed(call.svc.server(&call.caller, &server)).await?.try_into()?)
    }

    async fn list(&mut self, part: Page) -> Result<Names, HostError> {
        let call = self.call("servers.list", &[])?;
        let part = page(part)?;
        let listed = call.timed(call.svc.servers(&call.caller, &part)).await?;
        Ok(names(listed, |server| server.name.to_string()))
    }

    async fn environments(&mut self) -> Result<Vec<(String, Vec<String>)>, HostError> {
        let call = self.call("servers.environments", &[])?;
        let environments = call.timed(call.svc.environments(&call.caller)).await?;
        let named = environments.into_iter().map(|(environment, servers)| {
            (environment.to_string(), servers.iter().map(ServerName::to_string).collect())
        });
        Ok(named.collect())
    }

    async fn create(
        &mut self,
        server: String,
        new: servers::NewServer,
        kept: String,
    ) -> Result<servers::Server, HostError> {
        let call = self.call("servers.create", &[&server])?;
        let servers::NewServer { environment, driver, connection } = new;
        let new = NewServer {
            name: ServerName::parse(server)?,
            environment: EnvironmentName::parse(environment)?,
            driver: driver.into(),
            connection: from_json("connection", connection)?,
            attributes: attributes(kept)?,
        };
        let (server, _) = call.timed(call.svc.create_server(&call.caller, &new)).await?;
        Ok(server.try_into()?)
    }

    async fn update(&mut self, server: String, patch: String) -> Result<servers::Server, HostError> {
        let call = self.call("servers.update", &[&server])?;
        let (server, patch) = (ServerName::parse(server)?, change(patch)?);
        let (server, _) = call.timed(call.svc.update_server(&call.caller, &server, &patch, &Expected::Any)).await?;
        Ok(server.try_into()?)
    }

    async fn delete(&mut self, server: String) -> Result<(), HostError> {
        let call = self.call("servers.delete", &[&server])?;
        let server = ServerName::parse(server)?;
        let deleted = call.svc.delete_server(&call.caller, &server, &Expected::Any);
        call.timed(deleted).await
    }
}

impl From<servers::Driver> for Driver {
    fn from(driver: servers::Driver) -> Self {
        match driver {
            servers::Driver::Salt => Self::Salt,
            servers::Driver::Ssh => Self::Ssh,
            servers::Driver::Local => Self::Local,
        }
    }
}

impl From<Driver> for servers::Driver {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Salt => Self::Salt,
            Driver::Ssh => Self::Ssh,
            Driver::Local => Self::Local,
        }
    }
}

impl TryFrom<Server> for servers::Server {
    type Error = Error;

    fn try_from(server: Server) -> Result<Self, Error> {
        let Server {
            name,
            environment,
            driver,
            connection,
            attributes,
            // It would be a record that cannot grow.
            health: _,
            created_at,
            updated_at,
            revision: _,
        } = server;
        Ok(Self {
            name: name.to_string(),
            environment: environment.to_string(),
            driver: driver.into(),
            connection: json(&connection)?,
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
