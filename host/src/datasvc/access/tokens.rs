//! Tokens: what a client shows instead of a password.
//!
//! A token is 256 random bits with a prefix. Only its SHA-256 is stored; the token is shown once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use time::OffsetDateTime;

use super::audit::Author;
use super::caller::{Caller, Permission};
use super::logins::Attempt;
use super::passwords::Turn;
use super::permissions::Permissions;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{Digest, TokenId, UserName};
use crate::datasvc::ground::page::{Listed, Page};

/// What every token starts with, so that it is recognised where it should not be.
const PREFIX: &str = "elita_";
/// How long a token lasts unless its user says otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a token may last.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// How many tokens are removed by one statement.
const REMOVED_AT_ONCE: i64 = 1_000;

/// How many characters of a token behind [`PREFIX`] are too many to be shown.
const TELLING: usize = 32;

/// Whether a token, or most of one, is in this text. No other text looks like one.
pub fn holds_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.match_indices(PREFIX)
        .any(|(at, prefix)| text.bytes().skip(at + prefix.len()).take_while(|byte| of_token(*byte)).count() >= TELLING)
}

/// A token as it is listed: without the token itself.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Token {
    /// Names the token; it is not the token.
    pub token_id: TokenId,
    /// Whose token it is.
    pub username: UserName,
    /// What it may do at most; null: all that its user may.
    pub scope: Option<Permissions>,
    /// When its user logged in.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A token with its secret: the answer to logging in, and nowhere else.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewToken {
    /// To be sent as `Authorization: Bearer` or `Auth-Token`.
    #[schema(example = "elita_…")]
    pub token: String,
    /// What is stored of it.
    #[serde(flatten)]
    pub stored: Token,
}

impl DataSvc {
    /// Logs a user in who asks from this address.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], the same for an unknown user; [`Error::Throttled`] after many failures, or if many log
    /// in at once; [`Error::Invalid`] if `expires_in` is over a year.
    pub async fn log_in(
        &self,
        from: IpAddr,
        username: &str,
        password: String,
        expires_in: Option<Duration>,
        scope: Option<&Permissions>,
    ) -> Result<NewToken> {
        let lifetime = expires_in.unwrap_or(DEFAULT_LIFETIME);
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(Error::invalid("expires_in", "a token lasts 1 second to 366 days"));
        }
        if let Some(scope) = scope {
            scope.check()?;
        }
        // What cannot be a name is treated as one that nobody has.
        let username = UserName::parse(username).ok();
        let attempt = Attempt::new(username.as_ref(), from);
        // Before it takes the place of another; and when its turn has come, for those that came at the same time.
        self.admit(&attempt).await?;
        let turn = self.passwords.turn(Some(from)).await?;
        // A task of its own: who hangs up meanwhile has failed as well.
        let (svc, named) = (self.clone(), username.clone());
        let checked = tokio::spawn(async move {
            let hash = svc.right_password(&attempt, named.as_ref(), password, turn).await?;
            Ok::<_, Error>((attempt, hash))
        });
        let (attempt, hash) = checked.await.map_err(Error::internal)??;
        let username = username.ok_or(Error::WrongPassword)?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let (id, digest) = (TokenId::new(), Digest::of(token.as_bytes()));
        let author = Author::User { name: &username, token: id, address: Some(from), permissions: None };
        let mut transaction = self.change(author, "tokens.create").await?;
        // A change of the password ends the tokens that there are: it waits for this one, or this one for it.
        sqlx::query_scalar!(
            "select 1 from users where name = $1 and password_hash = $2 for share",
            username.as_str(),
            hash
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(Error::WrongPassword)?;
        let stored = sqlx::query_as!(
            Token,
            r#"with own as (
                   insert into logins (username, address, succeeded_at) values ($2, $6, now())
                   on conflict (username, address) do update set failures = 0, succeeded_at = now()
               ), expired as (
                   delete from tokens where username = $2 and expires_at <= now()
               )
               insert into tokens (id, username, secret_sha256, expires_at, scope)
               values ($1, $2, $3, now() + make_interval(secs => $4), $5)
               returning id as "token_id: TokenId", username as "username: UserName", scope as "scope: Permissions",
                   created_at, expires_at"#,
            id as _,
            username.as_str(),
            digest.as_bytes(),
            lifetime.as_secs_f64(),
            scope as _,
            attempt.address()
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.created(None, &id, &stored).await?;
        Ok(NewToken { token, stored })
    }

    /// The hash of the user's password, if this is the password. Takes as long when there is no such user.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], which is counted; [`Error::Throttled`] after many of them.
    async fn right_password(
        &self,
        attempt: &Attempt,
        username: Option<&UserName>,
        password: String,
        turn: Turn,
    ) -> Result<String> {
        self.admit(attempt).await?;
        let hash = match username {
            Some(username) => {
                sqlx::query_scalar!("select password_hash from users where name = $1", username.as_str())
                    .fetch_optional(&self.pool)
                    .await?
            }
            None => None,
        };
        match (turn.verify(password, hash.clone()).await?, hash) {
            (true, Some(hash)) => Ok(hash),
            _ => {
                self.count_failure(attempt).await?;
                Err(Error::WrongPassword)
            }
        }
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if it is unknown or has expired.
    pub async fn caller_of(&self, token: &str) -> Result<Caller> {
        let digest = Digest::of(token.as_bytes());
        let looking = sqlx::query_as!(
            Held,
            r#"select tokens.id as "id: TokenId", users.name as "name: UserName",
                      users.permissions as "permissions: Permissions", tokens.scope as "scope: Permissions"
               from tokens join users on users.name = tokens.username
               where tokens.secret_sha256 = $1 and tokens.expires_at > now()"#,
            digest.as_bytes()
        );
        // Within a time of its own: some requests have no other before their body is read.
        let held = self.reads.run(async |connection| Ok(looking.fetch_optional(connection).await?)).await?;
        held.map(Held::into_caller).ok_or(Error::InvalidToken)
    }

    /// Who holds these tokens now. Those that are no longer valid are left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn callers_of(&self, tokens: &[TokenId]) -> Result<Vec<Caller>> {
        let held = sqlx::query_as!(
            Held,
            r#"select tokens.id as "id: TokenId", users.name as "name: UserName",
                      users.permissions as "permissions: Permissions", tokens.scope as "scope: Permissions"
               from tokens join users on users.name = tokens.username
               where tokens.id = any($1) and tokens.expires_at > now()"#,
            tokens as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(held.into_iter().map(Held::into_caller).collect())
    }

    /// The caller's own tokens; with read permission on `_global`, everybody's.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is no token id.
    pub async fn tokens(&self, caller: &Caller, page: &Page) -> Result<Listed<Token>> {
        let after = page.after_as(TokenId::parse)?;
        let tokens = sqlx::query_as!(
            Token,
            r#"select id as "token_id: TokenId", username as "username: UserName", scope as "scope: Permissions",
                   created_at, expires_at
               from tokens
               where ($1::text is null or username = $1) and ($2::uuid is null or id > $2)
               order by id limit $3"#,
            visible_to(caller, Permission::Read)?,
            after as _,
            page.fetch()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(page.cut(tokens, |token| token.token_id.to_string()))
    }

    /// One token, by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's token without read permission on `_global`.
    pub async fn token(&self, caller: &Caller, id: TokenId) -> Result<Token> {
        sqlx::query_as!(
            Token,
            r#"select id as "token_id: TokenId", username as "username: UserName", scope as "scope: Permissions",
                   created_at, expires_at
               from tokens where id = $1 and ($2::text is null or username = $2)"#,
            id as _,
            visible_to(caller, Permission::Read)?
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Token, id))
    }

    /// Removes tokens that expired longer than `age` ago, at most some hundred. Returns how many: with 0 there are none
    /// left for now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_old_tokens(&self, age: Duration) -> Result<u64> {
        let removed = sqlx::query!(
            "delete from tokens where id in (
                 select id from tokens where expires_at < now() - make_interval(secs => $1) order by expires_at limit $2)",
            age.as_secs_f64(),
            REMOVED_AT_ONCE
        );
        Ok(removed.execute(&self.pool).await?.rows_affected())
    }

    /// Revokes a token. One that is narrower than its user revokes only itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's token without write permission on `_global`.
    pub async fn delete_token(&self, caller: &Caller, id: TokenId) -> Result<()> {
        let mut transaction = self.change_of_tokens(caller, "tokens.delete").await?;
        let token = sqlx::query_as!(
            Token,
            r#"delete from tokens where id = $1 and ($2::text is null or username = $2 and ($3::uuid is null or id = $3))
               returning id as "token_id: TokenId", username as "username: UserName", scope as "scope: Permissions",
                   created_at, expires_at"#,
            id as _,
            visible_to(caller, Permission::Write)?,
            caller.narrowed_token() as _
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Token, id))?;
        transaction.deleted(None, &id, &token).await
    }
}

/// A valid token, and what its user may do.
struct Held {
    id: TokenId,
    name: UserName,
    permissions: Permissions,
    scope: Option<Permissions>,
}

impl Held {
    fn into_caller(self) -> Caller {
        let Self { id, name, permissions, scope } = self;
        // Where a request comes from is for the door to add.
        let permissions = Arc::new(permissions.narrowed_by(scope));
        Caller::User { name, token: id, address: None, permissions }
    }
}

/// The only user whose tokens the caller may see or revoke; `None` means everybody's.
fn visible_to(caller: &Caller, permission: Permission) -> Result<Option<&str>> {
    if caller.may_globally(permission) {
        return Ok(None);
    }
    match caller.username() {
        Some(name) => Ok(Some(name.as_str())),
        None => Err(Error::Denied { reason: "a plugin has no tokens".into() }),
    }
}
