//! What users keep with a document: an object with whatever is in it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::types::Json as SqlJson;
use sqlx::{Decode, Encode, Postgres, Type};

/// The longest attributes that are taken, as JSON in bytes.
pub(in crate::datasvc) const MAX_BYTES: usize = 64 * 1024;

/// Free-form members of a document: a JSON object of at most 64 KiB.
///
/// Kept as its text: what is only passed on is not taken apart, which would take many times the memory.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Attributes(Box<RawValue>);

impl Default for Attributes {
    fn default() -> Self {
        Self(RawValue::from_string("{}".into()).expect("an empty object is JSON"))
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Attributes {}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        let text = to_raw_value(&members).map_err(serde::de::Error::custom)?;
        let length = text.get().len();
        if length > MAX_BYTES {
            let problem = format!("they are {length} bytes long, and at most {MAX_BYTES} are taken");
            return Err(serde::de::Error::custom(problem));
        }
        Ok(Self(text))
    }
}

impl Type<Postgres> for Attributes {
    // As `json`: by way of `jsonb`, which sqlx would take, the order of members is lost.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <SqlJson<Box<RawValue>> as Type<Postgres>>::compatible(ty)
    }
}

impl Encode<'_, Postgres> for Attributes {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend(self.0.get().as_bytes());
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Postgres> for Attributes {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <SqlJson<Box<RawValue>> as Decode<'r, Postgres>>::decode(value).map(|json| Self(json.0))
    }
}
