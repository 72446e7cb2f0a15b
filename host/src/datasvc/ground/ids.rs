//! Names and ids as types: code that gets one need not check it again.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};

/// A name is 1 to 128 of `A-Z a-z 0-9 . _ -` and starts with a letter or a digit; one that may be that of a host has up
/// to 253.
///
/// That leaves out `.`, `..`, `_global` and whatever would need escaping in a URL or a path.
fn check_name(name: &str, max_bytes: usize) -> Result<(), String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let known = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if starts_well && known && name.len() <= max_bytes {
        return Ok(());
    }
    Err(format!("a name is 1 to {max_bytes} of `A-Z a-z 0-9 . _ -` and starts with a letter or a digit"))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $field:literal, up to $max:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
        #[serde(try_from = "String")]
        #[sqlx(transparent)]
        #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = $max, example = "my_application")]
        pub struct $name(String);

        impl $name {
            /// Takes a name as it came from outside.
            ///
            /// # Errors
            /// [`Error::Invalid`] if it is not a name.
            pub fn parse(name: impl Into<String>) -> Result<Self> {
                Self::try_from(name.into()).map_err(|rule| Error::invalid($field, rule))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(name: String) -> Result<Self, String> {
                check_name(&name, $max).map(|()| Self(name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// An application's name.
    AppName: "app_name", up to 128;
    /// An action's name, unique within its application.
    ActionName: "action", up to 128;
    /// A user's name.
    UserName: "username", up to 128;
    /// A plugin's name: that of its file without `.wasm`.
    PluginName: "plugin", up to 128;
    /// A build's name, unique within its application.
    BuildName: "build_name", up to 128;
    /// A package's name, unique within its build.
    PackageName: "package", up to 128;
    /// A package map's name, unique within its application.
    PackageMapName: "name", up to 128;
    /// A git provider's name, unique in this installation.
    GitProviderName: "name", up to 128;
    /// A keypair's name, unique in this installation.
    KeypairName: "name", up to 128;
    /// A git repository's name, unique within its application.
    GitRepoName: "name", up to 128;
    /// A gitdeploy's name, unique within its application.
    GitdeployName: "name", up to 128;
    /// A group's name, unique within its application.
    GroupName: "name", up to 128;
    /// A server's name, unique in this installation. It may be a host name.
    ServerName: "name", up to 253;
    /// An environment's name, such as `production`.
    EnvironmentName: "environment", up to 128;
}

impl UserName {
    /// Stands for the current user. No user has this name.
    pub const CURRENT: &str = "current";
}

macro_rules! uuids {
    ($($(#[$doc:meta])* $name:ident: $field:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, after all that this process made before.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Takes an id as it came from outside.
            ///
            /// # Errors
            /// [`Error::Invalid`] if it is not a UUID.
            pub fn parse(id: &str) -> Result<Self> {
                Uuid::try_parse(id).map(Self).map_err(|_| Error::invalid($field, "an id is a UUID"))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uuids! {
    /// A job's id.
    JobId: "job_id";
    /// A token's id; not the token.
    TokenId: "token_id";
    /// One run of one server.
    WorkerId: "worker";
    /// A data directory, whichever server runs on it.
    HostId: "host";
}

impl JobId {
    /// No job's id is smaller.
    pub(in crate::datasvc) const FIRST: Self = Self(Uuid::nil());
    /// No job's id is greater.
    pub(in crate::datasvc) const LAST: Self = Self(Uuid::max());

    /// Splits jobs by the time that is shown of them: ids of those created before it are smaller, and no others.
    pub(in crate::datasvc) fn from_time(time: OffsetDateTime) -> Self {
        let milliseconds = time.unix_timestamp_nanos().div_euclid(1_000_000) + 1;
        let is_whole = time.nanosecond().is_multiple_of(1_000_000);
        Self::first_at(u64::try_from(milliseconds - i128::from(is_whole)).unwrap_or(0))
    }

    /// An id that is no greater than those of the jobs that are made from this time on.
    pub(in crate::datasvc) fn at(time: OffsetDateTime) -> Self {
        Self::first_at(u64::try_from(time.unix_timestamp()).unwrap_or(0).saturating_mul(1000))
    }

    /// When it was made, by the clock of the database as its maker knew it.
    pub fn made_at(self) -> Option<OffsetDateTime> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        let seconds = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
        Some(seconds + Duration::from_nanos(nanoseconds.into()))
    }

    /// The greatest id that is smaller.
    pub(in crate::datasvc) fn before(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_sub(1)))
    }

    /// The id that is as far from the first one as this is from the last: the smaller of two has the greater one.
    pub(in crate::datasvc) fn mirrored(self) -> Self {
        Self(Uuid::from_u128(!self.0.as_u128()))
    }

    fn first_at(milliseconds: u64) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid())
    }
}

/// The SHA-256 of a component.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// These 32 bytes, which are one already.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 64 digits, lower case, as in the name of a stored component.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// Two digits for each byte, lower case.
pub(in crate::datasvc) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    /// As it is serialized: `sha256:` and 64 digits.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
        let bytes = digits.and_then(|digits| {
            let pair = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
            (0..32).map(pair).collect::<Option<Vec<u8>>>()
        });
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| serde::de::Error::custom("no digest"))
    }
}

impl TryFrom<Vec<u8>> for Digest {
    type Error = Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self> {
        <[u8; 32]>::try_from(bytes)
            .map(Self)
            .map_err(|bytes| Error::internal(format!("a digest of {} bytes in the database", bytes.len())))
    }
}
