//! From a database error to what it means: a constraint's name, or whether the database is there at all.

use super::error::{Error, Result};

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) { Self::Unavailable(error.into()) } else { Self::internal(error) }
    }
}

/// Whether the database could not be reached or was going away, so that the same statement may work later.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08: connection exceptions; 53: insufficient resources; 57P0x: shutting down, crashed, starting up;
        // 25006: a standby that takes no writes; 57014, 55P03: given up by a time limit of the database's own;
        // 40001, 40P01: in the way of another transaction.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P0")
                || ["25006", "57014", "55P03", "40001", "40P01"].contains(&&*code)
        }),
        _ => false,
    }
}

/// Gives a violated constraint the meaning that the caller knows.
pub(in crate::datasvc) trait OnConstraint<T> {
    /// Turns the violation of the constraint `name` into `meaning()`, and any other error into its own.
    fn on_constraint(self, name: &str, meaning: impl FnOnce() -> Error) -> Result<T>;

    /// The same for several constraints.
    fn on_constraints(self, meanings: &[(&str, &(dyn Fn() -> Error + Sync))]) -> Result<T>;
}

impl<T> OnConstraint<T> for sqlx::Result<T> {
    fn on_constraint(self, name: &str, meaning: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|error| match error.as_database_error().and_then(|error| error.constraint()) {
            Some(violated) if violated == name => meaning(),
            _ => error.into(),
        })
    }

    fn on_constraints(self, meanings: &[(&str, &(dyn Fn() -> Error + Sync))]) -> Result<T> {
        self.map_err(|error| {
            let violated = error.as_database_error().and_then(|error| error.constraint());
            let meaning = meanings.iter().find(|(name, _)| Some(*name) == violated);
            meaning.map_or_else(|| Error::from(error), |(_, meaning)| meaning())
        })
    }
}

/// Lets a type that serializes be a column of the type `json`.
macro_rules! json_column {
    ($name:ty) => {
        impl sqlx::Type<sqlx::Postgres> for $name {
            // As `json`: by way of `jsonb`, which sqlx would take, the order of members is lost.
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::with_oid(sqlx::postgres::types::Oid(114))
            }

            fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <sqlx::types::Json<Self> as sqlx::Type<sqlx::Postgres>>::compatible(ty)
            }
        }

        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                buffer.extend(serde_json::to_vec(self)?);
                Ok(sqlx::encode::IsNull::No)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                <sqlx::types::Json<Self> as sqlx::Decode<'r, sqlx::Postgres>>::decode(value).map(|json| json.0)
            }
        }
    };
}
pub(in crate::datasvc) use json_column;
