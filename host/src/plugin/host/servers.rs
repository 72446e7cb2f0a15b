//! The imported interface `servers`.

use super::{HostError, attributes, change, from_json, names, page};
use crate::datasvc::{Driver, EnvironmentName, Error, Expected, NewServer, Server, ServerName};
use crate::plugin::bindings::elita::plugin::servers;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::instance::GuestState;

impl servers::Host for GuestState {
    async fn get(&mut self, server: String) -> Result<servers::Server, HostError> {
        let run = self.run("servers.get")?;
        let server = ServerName::parse(server)?;
        Ok(run.timed("servers.get", run.svc.server(&run.caller, &server)).await?.try_into()?)
    }

    async fn list(&mut self, part: Page) -> Result<Names, HostError> {
        let run = self.run("servers.list")?;
        let part = page(part)?;
        let listed = run.timed("servers.list", run.svc.servers(&run.caller, &part)).await?;
        Ok(names(listed, |server| server.name.to_string()))
    }

    async fn environments(&mut self) -> Result<Vec<(String, Vec<String>)>, HostError> {
        let run = self.run("servers.environments")?;
        let environments = run.timed("servers.environments", run.svc.environments(&run.caller)).await?;
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
        let run = self.run("servers.create")?;
        let servers::NewServer { environment, driver, connection } = new;
        let new = NewServer {
            name: ServerName::parse(server)?,
            environment: EnvironmentName::parse(environment)?,
            driver: driver.into(),
            connection: from_json("connection", connection)?,
            attributes: attributes(kept)?,
        };
        Ok(run.timed("servers.create", run.svc.create_server(&run.caller, &new)).await?.try_into()?)
    }

    async fn update(&mut self, server: String, patch: String) -> Result<servers::Server, HostError> {
        let run = self.run("servers.update")?;
        let (server, patch) = (ServerName::parse(server)?, change(patch)?);
        let updated = run.svc.update_server(&run.caller, &server, &patch, &Expected::Any);
        Ok(run.timed("servers.update", updated).await?.try_into()?)
    }

    async fn delete(&mut self, server: String) -> Result<(), HostError> {
        let run = self.run("servers.delete")?;
        let server = ServerName::parse(server)?;
        let deleted = run.svc.delete_server(&run.caller, &server, &Expected::Any);
        run.timed("servers.delete", deleted).await
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
        let Server { name, environment, driver, connection, attributes, created_at, updated_at, revision: _ } = server;
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
