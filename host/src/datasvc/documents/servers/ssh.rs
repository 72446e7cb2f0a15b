//! What servers that take SSH refer to, and what is kept of their hosts: for the driver, which acts for no caller.

use sqlx::PgConnection;

use super::connection::Connection;
use crate::datasvc::DataSvc;
use crate::datasvc::access::secrets::{KEYPAIR, SealedSecret};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{KeypairName, ServerName};

/// A keypair with its private half.
pub struct UnsealedKeypair {
    /// The private key, in OpenSSH's format.
    pub private: String,
    /// The public key, as a line of `authorized_keys`.
    pub public: String,
}

impl DataSvc {
    /// A keypair with its private half, for a connection that is opened now.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if its private half was lost; [`Error::Internal`] if it cannot be unsealed.
    pub async fn unsealed_keypair(&self, name: &KeypairName) -> Result<UnsealedKeypair> {
        let found =
            sqlx::query!("select public_key, private_key, secret_version from keypairs where name = $1", name.as_str())
                .fetch_optional(&self.pool)
                .await?
                .ok_or_else(|| Error::not_found(Noun::Keypair, name))?;
        let lost = || {
            Error::conflict(format!(
                "the private key of keypair `{name}` was lost with the secret key; use another keypair"
            ))
        };
        let (bytes, version) = found.private_key.zip(found.secret_version).ok_or_else(lost)?;
        let sealed = SealedSecret { bytes, version };
        let private = self.secrets()?.open(KEYPAIR, name, &sealed)?;
        Ok(UnsealedKeypair { private: String::from_utf8(private).map_err(Error::internal)?, public: found.public_key })
    }

    /// The only key that the host of a server may show: the one that is given in its document, or the one that it
    /// has shown on first contact. `None`: it was not contacted yet.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn host_key(&self, server: &ServerName) -> Result<Option<String>> {
        let found = sqlx::query_scalar!(
            r#"select coalesce(connection ->> 'host_key', pinned_host_key) from servers where name = $1"#,
            server.as_str()
        );
        found.fetch_optional(&self.pool).await?.ok_or_else(|| Error::not_found(Noun::Server, server))
    }

    /// Keeps the key that the host of a server has shown on first contact, unless one is kept already. Returns the one
    /// that is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pin_host_key(&self, server: &ServerName, key: &str) -> Result<String> {
        let kept = sqlx::query_scalar!(
            r#"update servers set pinned_host_key = coalesce(pinned_host_key, $2) where name = $1
               returning coalesce(connection ->> 'host_key', pinned_host_key) as "kept!""#,
            server.as_str(),
            key
        );
        kept.fetch_optional(&self.pool).await?.ok_or_else(|| Error::not_found(Noun::Server, server))
    }
}

/// Makes sure that what a connection names is there, until the transaction ends.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) async fn check_references(
    transaction: &mut PgConnection,
    server: &ServerName,
    connection: &Connection,
) -> Result<()> {
    let Connection::Ssh(ssh) = connection else { return Ok(()) };
    if let Some(keypair) = &ssh.keypair {
        sqlx::query!("select from keypairs where name = $1 for key share", keypair.as_str())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| Error::invalid("connection/keypair", format!("there is no keypair `{keypair}`")))?;
    }
    if let Some(jump) = &ssh.jump {
        let fit = sqlx::query_scalar!(
            r#"select driver = 'ssh' and connection ->> 'jump' is null as "fit!" from servers
               where name = $1 and name <> $2 for share"#,
            jump.as_str(),
            server.as_str()
        );
        if fit.fetch_optional(&mut *transaction).await? != Some(true) {
            let reason = format!("`{jump}` has to be another server of the driver `ssh`, which has no `jump` itself");
            return Err(Error::invalid("connection/jump", reason));
        }
    }
    Ok(())
}

/// Makes sure that no other server is reached through this one.
///
/// # Errors
/// [`Error::Conflict`].
pub(super) async fn check_unused(transaction: &mut PgConnection, server: &ServerName) -> Result<()> {
    let through = sqlx::query_scalar!(
        "select name from servers where driver = 'ssh' and connection ->> 'jump' = $1 order by name limit 1",
        server.as_str()
    );
    match through.fetch_optional(transaction).await? {
        None => Ok(()),
        Some(other) => {
            Err(Error::conflict(format!("server `{other}` is reached through server `{server}`; change it first")))
        }
    }
}
