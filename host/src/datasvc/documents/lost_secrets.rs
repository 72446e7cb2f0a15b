//! Secrets whose secret key is lost. What they were of stays, so that it can be given others.

use sqlx::PgConnection;

use crate::datasvc::DataSvc;
use crate::datasvc::access::secrets::SecretKeys;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::jobs::queue::TIME_TO_LIVE;

/// What nobody can read any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostSecrets {
    /// The keypairs whose private key it is.
    pub keypairs: Vec<String>,
    /// The git providers whose credentials it is.
    pub git_providers: Vec<String>,
    /// Whether it is the private half of the key that receipts are signed with.
    pub receipt_key: bool,
}

impl LostSecrets {
    /// Whether all can be read.
    pub fn is_empty(&self) -> bool {
        let Self { keypairs, git_providers, receipt_key } = self;
        keypairs.is_empty() && git_providers.is_empty() && !receipt_key
    }
}

impl DataSvc {
    /// What is sealed with other keys than these. If it `forgets`, that is removed, and these keys can be taken into use.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a server works with this database: it has the key; [`Error::Unavailable`].
    pub async fn lost_secrets(&self, keys: &SecretKeys, forgets: bool) -> Result<LostSecrets> {
        let mut transaction = self.pool.begin().await?;
        let used = sqlx::query!("select version, fingerprint from secret_keys for update");
        let used = used.fetch_all(&mut *transaction).await?.into_iter();
        let lost: Vec<_> = used.filter(|row| !keys.has(row.version, &row.fingerprint)).map(|row| row.version).collect();
        if forgets && !lost.is_empty() {
            nobody_has_it(&mut transaction).await?;
        }
        let keypairs = sqlx::query_scalar!(
            "update keypairs set private_key = null, secret_version = null, revision = nextval('revisions'),
                 updated_at = now()
             where secret_version = any($1) returning name",
            &lost
        );
        let mut keypairs = keypairs.fetch_all(&mut *transaction).await?;
        keypairs.sort();
        let git_providers = sqlx::query_scalar!(
            "update git_providers set auth = null, secret_version = null, revision = nextval('revisions'),
                 updated_at = now()
             where secret_version = any($1) returning name",
            &lost
        );
        let mut git_providers = git_providers.fetch_all(&mut *transaction).await?;
        git_providers.sort();
        let receipt_keys = sqlx::query!(
            "update receipt_keys set private_key = null, secret_version = null where secret_version = any($1)",
            &lost
        );
        let receipt_key = receipt_keys.execute(&mut *transaction).await?.rows_affected() > 0;
        let found = LostSecrets { keypairs, git_providers, receipt_key };
        if !forgets || lost.is_empty() {
            transaction.rollback().await?;
            return Ok(found);
        }
        sqlx::query!(
            "with fetched_never as (delete from handovers where secret_version = any($1)),
                 gone as (delete from secret_keys where version = any($1))
             insert into audit (operation, name, after)
             values ('secrets.forget', 'secret key', json_build_object('keypairs', $2::text[], 'git_providers', $3::text[],
                 'receipt_key', $4::boolean, 'by', 'whoever has the host'))",
            &lost,
            &found.keypairs,
            &found.git_providers,
            found.receipt_key
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(found)
    }
}

/// A server that works has the key.
async fn nobody_has_it(connection: &mut PgConnection) -> Result<()> {
    let works = sqlx::query_scalar!(
        r#"select exists (select from workers where seen_at > now() - make_interval(secs => $1)) as "works!""#,
        TIME_TO_LIVE.as_secs_f64()
    );
    if works.fetch_one(connection).await? {
        let reason = "a server works with this database, and has the secret key: copy its file of --secret-key-file, or \
                      stop all servers first";
        return Err(Error::conflict(reason));
    }
    Ok(())
}
