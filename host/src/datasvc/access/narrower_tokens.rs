//! Tokens that are made with a token, without a password: for a program that is to do less, or for a shorter time. They
//! may do no more than the one they are made with, and end with it.

use std::time::Duration;

use super::aside::aside;
use super::caller::Caller;
use super::permissions::Permissions;
use super::tokens::{NewToken, NewTokenRow, TokenTerms};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::TokenId;

impl DataSvc {
    /// Makes a token with the one in use. Without a scope it has that of the one in use, and without a time it lasts for
    /// 30 days, or for as long as that.
    ///
    /// # Errors
    /// [`Error::Denied`] for a scope that is wider; [`Error::Invalid`] for a time that is longer;
    /// [`Error::InvalidToken`] if the one in use has ended meanwhile.
    pub async fn narrow_token(&self, caller: &Caller, terms: TokenTerms<'_>) -> Result<NewToken> {
        let Caller::User { name, token, permissions, .. } = caller else {
            return Err(Error::Denied { reason: "a plugin has no tokens".into() });
        };
        terms.check()?;
        let scope = match (terms.scope, permissions.scope()) {
            (asked, None) => asked.cloned(),
            (None, held) => held.cloned(),
            (Some(asked), Some(held)) => Some(within(caller, held.clone(), asked.clone()).await?),
        };
        let mut transaction = self.change(caller, "tokens.create").await?;
        // Who takes the token in use away waits for this, or this for them.
        let left = sqlx::query_scalar!(
            r#"select extract(epoch from expires_at - now())::float8 as "left!" from tokens
               where id = $1 and expires_at > now() for share"#,
            *token as _
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(Error::InvalidToken)?;
        let left = Duration::try_from_secs_f64(left).map_err(Error::internal)?;
        if terms.expires_in.is_some_and(|asked| asked > left) {
            let reason = format!("the token in use ends in {} seconds, and this one with it", left.as_secs());
            return Err(Error::invalid("expires_in", reason));
        }
        let lifetime = terms.lifetime().min(left);
        let id = TokenId::new();
        let row = NewTokenRow { id, username: name, lifetime, scope: scope.as_ref(), made_by: Some(*token), terms };
        let new = row.insert(&mut transaction).await?;
        transaction.created(None, &id, &new.stored).await?;
        Ok(new)
    }
}

/// The scope that is asked for, if it is within the one that is held. To compare them may take long.
async fn within(caller: &Caller, held: Permissions, asked: Permissions) -> Result<Permissions> {
    let within = aside(caller, move |aside| held.cover(&asked, aside).map(|covers| covers.then_some(asked))).await??;
    within.ok_or_else(|| Error::Denied { reason: "this scope is wider than that of the token in use".into() })
}
