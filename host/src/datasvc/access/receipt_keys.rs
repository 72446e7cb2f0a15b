//! The key with which this installation signs receipts. It is made at the first start, and sealed like other secrets.
//! Another one can take its place: then its public half stays, for the receipts that it has signed.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::secrets::{RECEIPT_KEY, SealedSecret, SecretKeys, outdated_key};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::Digest;
use crate::datasvc::ground::sql::OnConstraint as _;

/// What a public key of ed25519 begins with in DER.
const DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// How many digits of a key's digest are its id.
const ID_DIGITS: usize = 16;

/// The public half of a key that receipts are or were signed with.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptKey {
    /// As in receipts.
    #[schema(example = "3b1f0a5c9d2e4f60")]
    pub key_id: String,
    /// An ed25519 key, as PEM.
    pub public_key: String,
    /// Since when it is used.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What receipts are signed with.
#[derive(Debug)]
pub(in crate::datasvc) struct Signer {
    key: Ed25519KeyPair,
    key_id: String,
}

impl Signer {
    pub(in crate::datasvc) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(in crate::datasvc) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.key.sign(text).as_ref().to_vec()
    }
}

/// The public halves that were read last.
pub(in crate::datasvc) type KnownReceiptKeys = Arc<Mutex<Vec<ReceiptKey>>>;

impl DataSvc {
    /// The public halves of the keys that receipts are or were signed with, the newest first. While the database is away,
    /// those that were there.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub async fn receipt_keys(&self) -> Result<Vec<ReceiptKey>> {
        let reading = sqlx::query!("select id, public_key, created_at from receipt_keys order by created_at desc, id");
        let known = || self.known_receipt_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = match self.reads.run(async |connection| Ok(reading.fetch_all(connection).await?)).await {
            Err(Error::Unavailable(_)) => return Ok(known().clone()),
            rows => rows?.into_iter(),
        };
        let keys = rows.map(|row| {
            let (key_id, public_key, created_at) = (row.id, pem(&row.public_key), row.created_at);
            ReceiptKey { key_id, public_key, created_at }
        });
        let keys: Vec<_> = keys.collect();
        known().clone_from(&keys);
        Ok(keys)
    }

    /// What receipts are signed with from now on: the newest key, also where another server has made it.
    ///
    /// # Errors
    /// [`Error::Internal`] if the installation has no key, or it cannot be unsealed.
    pub(in crate::datasvc) async fn signer(&self) -> Result<Signer> {
        let newest = sqlx::query!(
            r#"select id, private_key as "private_key!", secret_version as "secret_version!"
               from receipt_keys where private_key is not null order by created_at desc, id limit 1"#
        );
        let newest = newest.fetch_optional(&self.pool).await?;
        let newest = newest.ok_or_else(|| Error::internal("there is no key for receipts"))?;
        let sealed = SealedSecret { version: newest.secret_version, bytes: newest.private_key };
        let private = self.secrets()?.open(RECEIPT_KEY, &newest.id, &sealed)?;
        let key =
            Ed25519KeyPair::from_pkcs8(&private).map_err(|_| Error::internal("the key for receipts is damaged"))?;
        Ok(Signer { key, key_id: newest.id })
    }

    /// Makes the first key, unless there is one that can be signed with.
    pub(in crate::datasvc) async fn ensure_receipt_key(&self) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        // Servers that start at the same time make one between them.
        sqlx::query!("select pg_advisory_xact_lock(hashtextextended('receipt keys', 0))")
            .execute(&mut *transaction)
            .await?;
        let known = sqlx::query_scalar!(
            r#"select exists (select from receipt_keys where private_key is not null) as "known!""#
        );
        if !known.fetch_one(&mut *transaction).await? {
            self.make_receipt_key(&mut transaction).await?;
        }
        transaction.commit().await?;
        self.signer().await?;
        self.receipt_keys().await.map(drop)
    }

    /// Makes another key, with which receipts are signed from now on; those before stay signed with theirs, whose public
    /// half stays. The private half of those is removed. Returns the new key's id.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the secret key of this host was replaced; [`Error::Unavailable`].
    pub async fn replace_receipt_key(&self) -> Result<String> {
        let mut transaction = self.pool.begin().await?;
        let id = self.make_receipt_key(&mut transaction).await?;
        sqlx::query!(
            "with old as (
                 update receipt_keys set private_key = null, secret_version = null where id <> $1
             )
             insert into audit (operation, name, after)
             values ('receipt-keys.replace', $1, json_build_object('key_id', $1::text, 'by', 'whoever has the host'))",
            id
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id)
    }

    async fn make_receipt_key(&self, connection: &mut PgConnection) -> Result<String> {
        let (made, public) = Made::new(self.secrets()?)?;
        let inserted = sqlx::query!(
            "insert into receipt_keys (id, public_key, private_key, secret_version, created_at)
             values ($1, $2, $3, $4, clock_timestamp())",
            made.id,
            public,
            made.sealed.bytes,
            made.sealed.version
        );
        inserted.execute(connection).await.on_constraint("receipt_keys_secret_version_fkey", outdated_key)?;
        Ok(made.id)
    }
}

/// A new key.
struct Made {
    id: String,
    sealed: SealedSecret,
}

impl Made {
    fn new(keys: &SecretKeys) -> Result<(Self, Vec<u8>)> {
        let failed = |_| Error::internal("no key for receipts could be made");
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let key = Ed25519KeyPair::from_pkcs8(private.as_ref())
            .map_err(|_| Error::internal("no key for receipts could be made"))?;
        let public = key.public_key().as_ref().to_vec();
        let mut id = Digest::of(&public).hex();
        id.truncate(ID_DIGITS);
        let sealed = keys.seal(RECEIPT_KEY, &id, private.as_ref())?;
        Ok((Self { id, sealed }, public))
    }
}

fn pem(public: &[u8]) -> String {
    let text = STANDARD.encode([&DER[..], public].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}
