//! Secrets at rest: sealed with a key that is not in the database.
//!
//! The key is of a version. A server that finds secrets under an older version seals them anew under the newest one
//! when it starts, so that the old key can go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{Digest, hex};

/// What has a secret, as its identity says it: a keypair and a receipt key their private key, a git provider its credentials.
pub(in crate::datasvc) const KEYPAIR: &str = "keypair";
pub(in crate::datasvc) const GIT_PROVIDER: &str = "git provider";
pub(in crate::datasvc) const RECEIPT_KEY: &str = "receipt key";

/// The length of a key in bytes.
const KEY_BYTES: usize = 32;

/// The keys of this installation, by version; new secrets are sealed with the newest.
pub struct SecretKeys {
    keys: BTreeMap<i32, Key>,
    pub(in crate::datasvc) newest: i32,
}

struct Key {
    key: LessSafeKey,
    fingerprint: Digest,
}

/// A secret that can only be read with the key.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct SealedSecret {
    pub(in crate::datasvc) version: i32,
    /// The nonce, then the ciphertext and its tag.
    pub(in crate::datasvc) bytes: Vec<u8>,
}

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// It is not as [`SecretKeys::generate`] writes it.
    #[error("line {line} of the file of secret keys is not `<version> <64 hexadecimal digits>`")]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// It has no key.
    #[error("the file of secret keys is empty")]
    Empty,
    /// Another server has sealed secrets in this database with another key.
    #[error(
        "the database's secrets are under another secret key of version {version}; copy the file of --secret-key-file \
         from the server that uses this database; if it is lost, see `elita admin forget-secrets --help`"
    )]
    Other {
        /// The version that differs.
        version: i32,
    },
    /// A key is missing under which there are secrets.
    #[error(
        "the database has secrets under version {version} of the secret key, which the file does not hold; if it is lost, \
         see `elita admin forget-secrets --help`"
    )]
    Missing {
        /// The version that is missing.
        version: i32,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] Error),
}

impl SecretKeys {
    /// A file with a new key of version 1.
    pub fn generate() -> String {
        format!("1 {}\n", hex(&rand::random::<[u8; KEY_BYTES]>()))
    }

    /// Reads the text of a file: a line for each version, `<version> <64 hexadecimal digits>`.
    ///
    /// # Errors
    /// [`SecretKeyError::Malformed`], [`SecretKeyError::Empty`]; the text is in neither.
    pub fn parse(text: &str) -> std::result::Result<Self, SecretKeyError> {
        let mut keys = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = || {
                let (version, digits) = line.trim().split_once(' ')?;
                let version = version.parse().ok().filter(|version| *version > 0)?;
                let bytes = unhex(digits.trim())?;
                let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?;
                Some((version, Key { key: LessSafeKey::new(key), fingerprint: Digest::of(&bytes) }))
            };
            let (version, key) = read().ok_or(SecretKeyError::Malformed { line: number + 1 })?;
            keys.insert(version, key);
        }
        let newest = *keys.keys().next_back().ok_or(SecretKeyError::Empty)?;
        Ok(Self { keys, newest })
    }

    /// Whether this is one of them.
    pub(in crate::datasvc) fn has(&self, version: i32, fingerprint: &[u8]) -> bool {
        self.keys.get(&version).is_some_and(|key| key.fingerprint.as_bytes() == fingerprint)
    }

    /// Seals a secret of a record, such as the [`KEYPAIR`] of this name; it opens for that record only.
    pub(in crate::datasvc) fn seal(&self, of: &str, name: impl fmt::Display, secret: &[u8]) -> Result<SealedSecret> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = secret.to_vec();
        let key = &self.key(self.newest)?.key;
        let identity = Aad::from(format!("{of} {name}"));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), identity, &mut sealed)
            .map_err(|_| Error::internal("a secret could not be sealed"))?;
        Ok(SealedSecret { version: self.newest, bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens what [`SecretKeys::seal`] made for this record.
    pub(in crate::datasvc) fn open(&self, of: &str, name: impl fmt::Display, sealed: &SealedSecret) -> Result<Vec<u8>> {
        let identity = format!("{of} {name}");
        let unreadable = || Error::internal(format!("the secret of {identity} cannot be opened"));
        let (nonce, bytes) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(unreadable)?;
        let mut bytes = bytes.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = &self.key(sealed.version)?.key;
        let opened = key.open_in_place(nonce, Aad::from(&identity), &mut bytes).map_err(|_| unreadable())?;
        Ok(opened.to_vec())
    }

    fn key(&self, version: i32) -> Result<&Key> {
        self.keys.get(&version).ok_or_else(|| Error::internal(format!("there is no secret key of version {version}")))
    }
}

/// Without the keys.
impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeys").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl DataSvc {
    /// Takes these keys into use, if they are those of the database, and seals with the newest what is under an older
    /// one.
    ///
    /// # Errors
    /// [`SecretKeyError::Other`], [`SecretKeyError::Missing`]; nothing has changed then.
    pub async fn use_secret_keys(mut self, keys: SecretKeys) -> std::result::Result<Self, SecretKeyError> {
        let used = sqlx::query!("select version, fingerprint from secret_keys")
            .fetch_all(&self.pool)
            .await
            .map_err(Error::from)?;
        if let Some(row) = used.iter().find(|row| !keys.has(row.version, &row.fingerprint)) {
            let version = row.version;
            return Err(match keys.keys.contains_key(&version) {
                true => SecretKeyError::Other { version },
                false => SecretKeyError::Missing { version },
            });
        }
        for (version, key) in &keys.keys {
            let fingerprint = sqlx::query_scalar!(
                "insert into secret_keys (version, fingerprint) values ($1, $2)
                 on conflict (version) do update set version = excluded.version returning fingerprint",
                version,
                key.fingerprint.as_bytes()
            )
            .fetch_one(&self.pool)
            .await
            .map_err(Error::from)?;
            // Another server may have been first.
            if fingerprint != key.fingerprint.as_bytes() {
                return Err(SecretKeyError::Other { version: *version });
            }
        }
        self.secrets = Some(Arc::new(keys));
        self.seal_anew().await?;
        self.forget_unused_keys().await?;
        self.ensure_receipt_key().await?;
        Ok(self)
    }

    /// Seals with the newest key what is under an older one, one after the other.
    async fn seal_anew(&self) -> Result<()> {
        let keys = self.secrets()?;
        let old = sqlx::query!(
            r#"select $2::text as "of!", name as "name!", private_key as "secret!", secret_version as "version!"
               from keypairs where secret_version <> $1
               union all
               select $3::text, name, auth, secret_version from git_providers where secret_version <> $1
               union all
               select $4::text, id, private_key, secret_version from receipt_keys where secret_version <> $1"#,
            keys.newest,
            KEYPAIR,
            GIT_PROVIDER,
            RECEIPT_KEY
        )
        .fetch_all(&self.pool)
        .await?;
        for row in old {
            let sealed = SealedSecret { version: row.version, bytes: row.secret };
            let fresh = keys.seal(&row.of, &row.name, &keys.open(&row.of, &row.name, &sealed)?)?;
            // Another secret may have been given meanwhile, under whatever version: it stays.
            sqlx::query!(
                "with of_keypair as (
                     update keypairs set private_key = $4, secret_version = $5
                     where $1 = $6::text and name = $2 and private_key = $3
                 ), of_receipt_key as (
                     update receipt_keys set private_key = $4, secret_version = $5
                     where $1 = $8::text and id = $2 and private_key = $3
                 )
                 update git_providers set auth = $4, secret_version = $5
                 where $1 = $7::text and name = $2 and auth = $3",
                row.of,
                row.name,
                sealed.bytes,
                fresh.bytes,
                fresh.version,
                KEYPAIR,
                GIT_PROVIDER,
                RECEIPT_KEY
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    /// Versions under which nothing is any more need not be in the file of the next start.
    async fn forget_unused_keys(&self) -> Result<()> {
        let newest = self.secrets()?.newest;
        sqlx::query!(
            "delete from secret_keys where version < $1
                 and not exists (select from keypairs where secret_version = secret_keys.version)
                 and not exists (select from git_providers where secret_version = secret_keys.version)
                 and not exists (select from receipt_keys where secret_version = secret_keys.version)",
            newest
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The keys in use.
    ///
    /// # Errors
    /// [`Error::Internal`] if there are no keys.
    pub(in crate::datasvc) fn secrets(&self) -> Result<&SecretKeys> {
        self.secrets.as_deref().ok_or_else(|| Error::internal("no secret keys were taken into use"))
    }
}

/// Why a secret is refused that was sealed with an old key, which the other servers no longer have.
pub(in crate::datasvc) fn outdated_key() -> Error {
    let reason = "the secret key of this server has been replaced; give it the file of --secret-key-file of the other \
                  servers, and restart it";
    Error::conflict(reason)
}

fn unhex(digits: &str) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    if digits.len() != 2 * KEY_BYTES || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
