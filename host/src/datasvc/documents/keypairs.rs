//! Keypairs: SSH keys by which git repositories and servers are reached. The private key is sealed, and no
//! interface shows it.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey};
use time::OffsetDateTime;

use super::referrers::{AppReferrer, named_to};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::secrets::{KEYPAIR, outdated_key};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, KeypairName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;

/// The longest key that is taken, in bytes.
const MAX_KEY_BYTES: usize = 32 * 1024;

/// A keypair, without its private half.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Keypair {
    /// Unique in this installation.
    pub name: KeypairName,
    /// As in the public key, such as `ssh-ed25519`.
    #[schema(example = "ssh-ed25519")]
    pub key_type: String,
    /// The public half, as a line of `authorized_keys`.
    pub public_key: String,
    /// The public half's SHA-256, as `ssh-keygen -l` prints it.
    #[schema(example = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")]
    pub fingerprint: String,
    /// What users keep with it.
    pub attributes: Attributes,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// Where the keys of a new keypair come from.
pub enum NewKeys {
    /// A new ed25519 key is made.
    Generated,
    /// A private key in OpenSSH's format, and the public half that it is said to have.
    Given {
        /// Begins with `-----BEGIN OPENSSH PRIVATE KEY-----`, and has no passphrase.
        private: String,
        /// As a line of `authorized_keys`.
        public: Option<String>,
    },
}

/// What can be changed of a keypair.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeypairChange)]
pub struct Change {
    #[serde(default)]
    attributes: Attributes,
}

impl NewKeys {
    /// The private key.
    ///
    /// # Errors
    /// [`Error::Invalid`]; nothing of the key is in it.
    fn read(self, name: &KeypairName) -> Result<PrivateKey> {
        let (private, public) = match self {
            Self::Generated => {
                let mut key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519)
                    .map_err(|error| Error::internal(error.to_string()))?;
                key.set_comment(name.as_str());
                return Ok(key);
            }
            Self::Given { private, public } => (private, public),
        };
        if private.len() > MAX_KEY_BYTES || public.as_ref().is_some_and(|public| public.len() > MAX_KEY_BYTES) {
            return Err(Error::invalid("private_key", format!("a key has at most {MAX_KEY_BYTES} bytes")));
        }
        let key = PrivateKey::from_openssh(&private).map_err(|_| {
            let reason = "this is not a private key in OpenSSH's format; `ssh-keygen -p -f <file>` converts other ones";
            Error::invalid("private_key", reason)
        })?;
        if key.is_encrypted() {
            return Err(Error::invalid(
                "private_key",
                "it has a passphrase; take it off with `ssh-keygen -p -f <file>`",
            ));
        }
        if let Some(public) = public {
            let public = PublicKey::from_openssh(public.trim())
                .map_err(|_| Error::invalid("public_key", "this is not a line of `authorized_keys`"))?;
            if public.key_data() != key.public_key().key_data() {
                return Err(Error::invalid("public_key", "it is not that of the private key"));
            }
        }
        Ok(key)
    }
}

impl DataSvc {
    /// Makes a keypair.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] for keys that cannot be used; [`Error::Denied`] without write
    /// permission on `_global`.
    pub async fn create_keypair(
        &self,
        caller: &Caller,
        name: &KeypairName,
        key_type: Option<&str>,
        keys: NewKeys,
        attributes: &Attributes,
    ) -> Result<Keypair> {
        caller.require_global(Permission::Write)?;
        let key = keys.read(name)?;
        let found = key.algorithm().as_str().to_owned();
        if key_type.is_some_and(|wanted| wanted != found && format!("ssh-{wanted}") != found) {
            return Err(Error::invalid("key_type", format!("the key is of the type `{found}`")));
        }
        let unwritable = |error: ssh_key::Error| Error::internal(error.to_string());
        let text = key.to_openssh(LineEnding::LF).map_err(unwritable)?;
        let sealed = self.secrets()?.seal(KEYPAIR, name, text.as_bytes())?;
        let mut transaction = self.change(caller, "keypairs.create").await?;
        let created = sqlx::query_as!(
            Keypair,
            r#"insert into keypairs (name, key_type, public_key, fingerprint, private_key, secret_version, attributes)
               values ($1, $2, $3, $4, $5, $6, $7)
               returning name as "name: KeypairName", key_type, public_key, fingerprint,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            name.as_str(),
            found,
            key.public_key().to_openssh().map_err(unwritable)?,
            key.public_key().fingerprint(HashAlg::Sha256).to_string(),
            sealed.bytes,
            sealed.version,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await;
        let keypair = created.on_constraints(&[
            ("keypairs_pkey", &|| Error::already_exists(Kind::Keypair, name)),
            ("keypairs_secret_version_fkey", &outdated_key),
        ])?;
        transaction.created(None, name, &keypair).await?;
        Ok(keypair)
    }

    /// One keypair.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on `_global`.
    pub async fn keypair(&self, caller: &Caller, name: &KeypairName) -> Result<Keypair> {
        caller.require_global(Permission::Read)?;
        sqlx::query_as!(
            Keypair,
            r#"select name as "name: KeypairName", key_type, public_key, fingerprint,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from keypairs where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Keypair, name))
    }

    /// The keypairs, by name.
    ///
    /// # Errors
    /// [`Error::Denied`] without read permission on `_global`.
    pub async fn keypairs(&self, caller: &Caller, page: &Page) -> Result<Listed<Keypair>> {
        caller.require_global(Permission::Read)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            Keypair,
            r#"select name as "name: KeypairName", key_type, public_key, fingerprint,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from keypairs where ($1::text is null or case when $4 then (created_at, name) < ($5, $1)
                           when $6 then (created_at, name) > ($5, $1) else name > $1 end) and ($3::text is null or name like $3)
               order by case when $4 then created_at end desc, case when $4 then name end desc,
                   case when $6 then created_at end, name limit $2"#,
            start.name,
            page.fetch(),
            page.like(),
            start.is_newest_first,
            start.created_at,
            start.is_oldest_first
        );
        self.reads
            .run(async |connection| {
                page.gather(rows.fetch(connection), |keypair| page.cursor(keypair.created_at, keypair.name.as_str()))
                    .await
            })
            .await
    }

    /// Changes the attributes of a keypair.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on `_global`; [`Error::Changed`] if it is
    /// another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_keypair(
        &self,
        caller: &Caller,
        name: &KeypairName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<Keypair> {
        caller.require_global(Permission::Write)?;
        let mut transaction = self.change(caller, "keypairs.update").await?;
        let keypair = locked(&mut transaction, name).await?;
        expected.check(keypair.revision, Kind::Keypair, name)?;
        let Change { attributes } = patch.apply(&keypair, &Change { attributes: keypair.attributes.clone() }).await?;
        let updated = sqlx::query_as!(
            Keypair,
            r#"update keypairs set attributes = $2, revision = nextval('revisions'), updated_at = now() where name = $1
               returning name as "name: KeypairName", key_type, public_key, fingerprint,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            name.as_str(),
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.updated(None, name, &keypair, &updated).await?;
        Ok(updated)
    }

    /// Removes a keypair.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] while servers or git repositories use it, which are named as far as the caller
    /// may read them; [`Error::Denied`] without write permission on `_global`; [`Error::Changed`] if it is another version than expected.
    pub async fn delete_keypair(&self, caller: &Caller, name: &KeypairName, expected: &Expected) -> Result<()> {
        caller.require_global(Permission::Write)?;
        let mut transaction = self.change(caller, "keypairs.delete").await?;
        let keypair = locked(&mut transaction, name).await?;
        expected.check(keypair.revision, Kind::Keypair, name)?;
        let users = sqlx::query_as!(
            AppReferrer,
            r#"select application as "application: AppName", name, count(*) over () as "count!"
               from git_repos where keypair = $1 order by application, name"#,
            name.as_str()
        )
        .fetch(&mut *transaction);
        if let Some(users) = named_to(caller, "git repo", users).await? {
            return Err(in_use(name, &users));
        }
        let server = sqlx::query_scalar!(
            "select name from servers where driver = 'ssh' and connection ->> 'keypair' = $1 order by name limit 1",
            name.as_str()
        );
        if let Some(server) = server.fetch_optional(&mut *transaction).await? {
            return Err(in_use(name, &format!("server `{server}`")));
        }
        let removed = sqlx::query!("delete from keypairs where name = $1", name.as_str());
        let removed = removed.execute(&mut *transaction).await;
        removed.on_constraint("git_repos_keypair_fkey", || in_use(name, "a git repo"))?;
        transaction.deleted(None, name, &keypair).await
    }
}

/// One keypair, locked against changes and new users.
async fn locked(connection: &mut PgConnection, name: &KeypairName) -> Result<Keypair> {
    sqlx::query_as!(
        Keypair,
        r#"select name as "name: KeypairName", key_type, public_key, fingerprint,
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
           from keypairs where name = $1 for update"#,
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::Keypair, name))
}

fn in_use(name: &KeypairName, users: &str) -> Error {
    Error::conflict(format!("keypair `{name}` is used by {users}; change what uses it first"))
}
