//! Words of rows, such as states: a row may be from a newer server, which has more of them. One such row must not hide
//! the others of a list, nor what else it says.

/// Lets an enum be a column of words, of which it takes those that it does not know as `Unknown`. It derives
/// `Deserialize`, without `Unknown`: no client can give that.
macro_rules! stored_words {
    ($($name:ty),*) => {$(
        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <str as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <str as sqlx::Type<sqlx::Postgres>>::compatible(ty)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $name {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                <&str as sqlx::postgres::PgHasArrayType>::array_type_info()
            }

            fn array_compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <&str as sqlx::postgres::PgHasArrayType>::array_compatible(ty)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                use serde::Deserialize as _;
                let word = <&str as sqlx::Decode<'r, sqlx::Postgres>>::decode(value)?;
                let known = Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word));
                Ok(known.unwrap_or(Self::Unknown))
            }
        }
    )*};
}
pub(in crate::datasvc) use stored_words;
