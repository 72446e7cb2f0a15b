//! The key with which this installation signs receipts. It is made at the first start, and sealed like other secrets.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use time::OffsetDateTime;

use super::secrets::{RECEIPT_KEY, SealedSecret, SecretKeys};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::Digest;

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
pub(in crate::datasvc) struct Signer {
    key: Ed25519KeyPair,
    key_id: String,
    /// All public halves, the newest first.
    keys: Vec<ReceiptKey>,
}

/// Without the private half.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer {
    pub(in crate::datasvc) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(in crate::datasvc) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.key.sign(text).as_ref().to_vec()
    }
}

impl DataSvc {
    /// The public halves of the keys that receipts are or were signed with, the newest first.
    pub fn receipt_keys(&self) -> &[ReceiptKey] {
        self.signer.as_deref().map_or(&[], |signer| &signer.keys)
    }

    /// # Errors
    /// [`Error::Internal`] if no keys were taken into use.
    pub(in crate::datasvc) fn signer(&self) -> Result<&Signer> {
        self.signer.as_deref().ok_or_else(|| Error::internal("no key for receipts was taken into use"))
    }

    /// Takes the newest key into use, or makes the first one.
    pub(in crate::datasvc) async fn use_receipt_keys(&mut self) -> Result<()> {
        let keys = self.secrets()?;
        let mut transaction = self.pool.begin().await?;
        // Servers that start at the same time make one between them.
        sqlx::query!("select pg_advisory_xact_lock(hashtextextended('receipt keys', 0))")
            .execute(&mut *transaction)
            .await?;
        let known = sqlx::query_scalar!(r#"select exists (select from receipt_keys) as "known!""#);
        if !known.fetch_one(&mut *transaction).await? {
            let (made, public) = Made::new(keys)?;
            sqlx::query!(
                "insert into receipt_keys (id, public_key, private_key, secret_version) values ($1, $2, $3, $4)",
                made.id,
                public,
                made.sealed.bytes,
                made.sealed.version
            )
            .execute(&mut *transaction)
            .await?;
        }
        let rows = sqlx::query!(
            "select id, public_key, private_key, secret_version, created_at from receipt_keys
             order by created_at desc, id"
        );
        let rows = rows.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let Some(newest) = rows.first() else { return Err(Error::internal("the key for receipts was not kept")) };
        let sealed = SealedSecret { version: newest.secret_version, bytes: newest.private_key.clone() };
        let private = keys.open(RECEIPT_KEY, &newest.id, &sealed)?;
        let key =
            Ed25519KeyPair::from_pkcs8(&private).map_err(|_| Error::internal("the key for receipts is damaged"))?;
        let key_id = newest.id.clone();
        let keys = rows.into_iter().map(|row| ReceiptKey {
            key_id: row.id,
            public_key: pem(&row.public_key),
            created_at: row.created_at,
        });
        let keys = keys.collect();
        self.signer = Some(Arc::new(Signer { key, key_id, keys }));
        Ok(())
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
