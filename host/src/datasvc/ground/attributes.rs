//! What users keep with a document: an object with whatever is in it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::sql::json_column;

/// The longest attributes that are taken, as JSON in bytes.
pub(in crate::datasvc) const MAX_BYTES: usize = 64 * 1024;

/// Free-form members of a document: a JSON object of at most 64 KiB.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(value_type = Object)]
pub struct Attributes(Map<String, Value>);

json_column!(Attributes);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let attributes = Self(Map::deserialize(deserializer)?);
        let length = serde_json::to_string(&attributes).map_err(serde::de::Error::custom)?.len();
        if length > MAX_BYTES {
            let problem = format!("they are {length} bytes long, and at most {MAX_BYTES} are taken");
            return Err(serde::de::Error::custom(problem));
        }
        Ok(attributes)
    }
}
