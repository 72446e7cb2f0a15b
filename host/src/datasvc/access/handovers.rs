//! What servers fetch once, by a URL that is valid for a minute. It is sealed here until then, and may be fetched on any
//! host of the installation.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secrets::SealedSecret;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::Digest;

/// What has such a secret, as its identity says it.
const HANDOVER: &str = "handover";

/// What somebody finds who fetches it.
pub enum Taken {
    /// This. Nobody finds it after that.
    Content(Vec<u8>),
    /// It was fetched before.
    UsedUp {
        /// The server that it was for.
        server: String,
        /// The address that it was fetched from.
        taken_from: Option<String>,
    },
    /// There is no such URL, or its minute is over.
    Nothing,
}

impl DataSvc {
    /// Keeps something for a server to fetch: the secret of its URL.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn hand_over(&self, server: &str, content: &[u8]) -> Result<String> {
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let digest = Digest::of(secret.as_bytes());
        let sealed = self.secrets()?.seal(HANDOVER, digest, content)?;
        sqlx::query!(
            "insert into handovers (secret_sha256, server, sealed, secret_version) values ($1, $2, $3, $4)",
            digest.as_bytes(),
            server,
            sealed.bytes,
            sealed.version
        )
        .execute(&self.pool)
        .await?;
        Ok(secret)
    }

    /// Fetches what was kept under this secret, for a client with this address.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`]; [`crate::datasvc::Error::Internal`] if it cannot be unsealed.
    pub async fn take_handover(&self, secret: &str, from: Option<IpAddr>) -> Result<Taken> {
        let digest = Digest::of(secret.as_bytes());
        let from = from.map(|address| address.to_string());
        // Whoever comes at the same time waits for the row, and then finds it fetched.
        let found = sqlx::query!(
            r#"with found as (
                   select server, sealed, secret_version, taken_at, taken_from,
                       made_at > now() - interval '1 minute' as lives
                   from handovers where secret_sha256 = $1 for update
               ), taken as (
                   update handovers set sealed = null, taken_at = now(), taken_from = $2
                   from found where secret_sha256 = $1 and found.taken_at is null and found.lives
               )
               select server as "server!", sealed as "sealed?", secret_version as "secret_version!",
                   taken_at is not null as "is_used_up!", taken_from as "taken_from?", lives as "lives!"
               from found"#,
            digest.as_bytes(),
            from
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(match found {
            Some(found) if found.is_used_up => Taken::UsedUp { server: found.server, taken_from: found.taken_from },
            Some(found) if found.lives => match found.sealed {
                Some(bytes) => {
                    let sealed = SealedSecret { bytes, version: found.secret_version };
                    Taken::Content(self.secrets()?.open(HANDOVER, digest, &sealed)?)
                }
                None => Taken::Nothing,
            },
            Some(_) | None => Taken::Nothing,
        })
    }

    /// Removes what is not fetched any more.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn remove_old_handovers(&self) -> Result<()> {
        sqlx::query!("delete from handovers where made_at < now() - interval '10 minutes'").execute(&self.pool).await?;
        Ok(())
    }
}
