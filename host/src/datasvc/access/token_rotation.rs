//! A new token in the place of the one in use, without a password: for programs that are to change theirs regularly.

use std::time::Duration;

use super::caller::Caller;
use super::tokens::{NewToken, NewTokenRow, Token, TokenTerms};
use crate::datasvc::DataSvc;
use crate::datasvc::access::permissions::Permissions;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{TokenId, UserName};

/// How long the token before is valid for, unless the caller says otherwise: as long as a reply that was lost can be
/// asked for again.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(600);
/// The longest that it may be valid for.
const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

impl DataSvc {
    /// Makes a token with the name and the scope of the one in use, which is valid for the `overlap` from now on. The new
    /// one lasts as long as that one did from its beginning, unless `expires_in` says otherwise. What was made with that
    /// one ends with the new one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a time that is too long; [`Error::InvalidToken`] if the one in use has ended meanwhile;
    /// [`Error::Denied`] for a plugin.
    pub async fn rotate_token(
        &self,
        caller: &Caller,
        expires_in: Option<Duration>,
        overlap: Option<Duration>,
        client: Option<&str>,
    ) -> Result<NewToken> {
        let Caller::User { token, .. } = caller else {
            return Err(Error::Denied { reason: "a plugin has no tokens".into() });
        };
        let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
        if overlap > MAX_OVERLAP {
            return Err(Error::invalid("overlap", "the token before is valid for 7 days at most"));
        }
        let mut transaction = self.change_of_tokens(caller, "tokens.rotate").await?;
        let held = sqlx::query!(
            r#"select t.username as "username: UserName", t.name, t.scope as "scope: Permissions",
                   t.made_by as "made_by: TokenId", extract(epoch from t.expires_at - t.created_at)::float8 as "lifetime!",
                   extract(epoch from maker.expires_at - now())::float8 as left
               from tokens t left join tokens maker on maker.id = t.made_by
               where t.id = $1 and t.expires_at > now() for update of t"#,
            token as _
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(Error::InvalidToken)?;
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(Error::internal);
        let (lifetime, left) = (seconds(held.lifetime)?, held.left.map(seconds).transpose()?);
        if let (Some(asked), Some(left)) = (expires_in, left)
            && asked > left
        {
            let reason =
                format!("the token that it was made with ends in {} seconds, and this one with it", left.as_secs());
            return Err(Error::invalid("expires_in", reason));
        }
        let expires_in = expires_in.unwrap_or(lifetime).min(left.unwrap_or(Duration::MAX));
        let terms =
            TokenTerms { expires_in: Some(expires_in), scope: held.scope.as_ref(), name: held.name.as_deref(), client };
        terms.check()?;
        let id = TokenId::new();
        let (scope, made_by) = (held.scope.as_ref(), held.made_by);
        let row = NewTokenRow { id, username: &held.username, lifetime: expires_in, scope, made_by, terms };
        let new = row.insert(&mut transaction).await?;
        let before = sqlx::query_as!(
            Token,
            r#"with heirs as (
                   update tokens set made_by = $2, expires_at = least(expires_at, $3) where made_by = $1
               )
               update tokens set expires_at = least(expires_at, now() + make_interval(secs => $4)) where id = $1
               returning id as "token_id: TokenId", username as "username: UserName", name, client,
                   scope as "scope: Permissions", made_by as "made_by: TokenId", created_at, expires_at, last_used_at"#,
            token as _,
            id as _,
            new.stored.expires_at,
            overlap.as_secs_f64()
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.updated(None, &id, &before, &new.stored).await?;
        Ok(new)
    }
}
