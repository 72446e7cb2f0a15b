//! Tokens: what a client shows instead of a password.
//!
//! A token is 256 random bits with a prefix. Only its SHA-256 is stored; the token is shown once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::debug;

use super::audit::Author;
use super::caller::{Caller, Permission};
use super::logins::Attempt;
use super::passwords::Turn;
use super::permissions::Permissions;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{Digest, TokenId, UserName};
use crate::datasvc::ground::page::{Listed, Page, TimeOrder};

/// What every token starts with, so that it is recognised where it should not be.
const PREFIX: &str = "elita_";
/// How long a token lasts unless its user says otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a token may last.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long a token's name is, and what is kept of the name of its client, in characters.
const MAX_NAME_CHARS: usize = 128;
const MAX_CLIENT_CHARS: usize = 200;
/// How old the time may be at which a token was used last, in seconds: so seldom it is written.
const NOTED_EVERY: f64 = 60.0;
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

/// A new token, and what is stored of it.
pub(super) fn new_secret() -> (String, Digest) {
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let digest = Digest::of(token.as_bytes());
    (token, digest)
}

/// A token as it is listed: without the token itself.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Token {
    /// Names the token; it is not the token.
    pub token_id: TokenId,
    /// Whose token it is.
    pub username: UserName,
    /// What its user calls it.
    pub name: Option<String>,
    /// The program that asked for it, as that says itself.
    pub client: Option<String>,
    /// What it may do at most; null: all that its user may.
    pub scope: Option<Permissions>,
    /// The token that it was made with, with which it ends; null: it was made with the password.
    pub made_by: Option<TokenId>,
    /// When its user logged in.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was used last, give or take a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// What a new token is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenTerms<'a> {
    /// How long it is to last.
    pub expires_in: Option<Duration>,
    /// What it may do at most.
    pub scope: Option<&'a Permissions>,
    /// What its user calls it.
    pub name: Option<&'a str>,
    /// The program that asks for it, as that says itself.
    pub client: Option<&'a str>,
}

impl TokenTerms<'_> {
    /// # Errors
    /// [`Error::Invalid`] if there can be no such token.
    pub(in crate::datasvc) fn check(&self) -> Result<()> {
        if self.lifetime().is_zero() || self.lifetime() > MAX_LIFETIME {
            return Err(Error::invalid("expires_in", "a token lasts 1 second to 366 days"));
        }
        let is_name = |name: &str| (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.contains('\0');
        if !self.name.is_none_or(is_name) {
            return Err(Error::invalid("name", format!("a token's name has 1 to {MAX_NAME_CHARS} characters")));
        }
        self.scope.map_or(Ok(()), Permissions::check)
    }

    pub(in crate::datasvc) fn lifetime(&self) -> Duration {
        self.expires_in.unwrap_or(DEFAULT_LIFETIME)
    }
}

/// A token on its way into the database.
pub(in crate::datasvc) struct NewTokenRow<'a> {
    pub(in crate::datasvc) id: TokenId,
    pub(in crate::datasvc) username: &'a UserName,
    pub(in crate::datasvc) lifetime: Duration,
    pub(in crate::datasvc) scope: Option<&'a Permissions>,
    pub(in crate::datasvc) made_by: Option<TokenId>,
    pub(in crate::datasvc) terms: TokenTerms<'a>,
}

impl NewTokenRow<'_> {
    /// Makes a secret for it, and stores what is stored of it.
    pub(in crate::datasvc) async fn insert(&self, connection: &mut PgConnection) -> Result<NewToken> {
        let (token, digest) = new_secret();
        let client = self.terms.client.map(|client| client.chars().take(MAX_CLIENT_CHARS).collect::<String>());
        let stored = sqlx::query_as!(
            Token,
            r#"insert into tokens (id, username, secret_sha256, expires_at, scope, name, client, made_by)
               values ($1, $2, $3, now() + make_interval(secs => $4), $5, $6, $7, $8)
               returning id as "token_id: TokenId", username as "username: UserName", name, client,
                   scope as "scope: Permissions", made_by as "made_by: TokenId", created_at, expires_at, last_used_at"#,
            self.id as _,
            self.username.as_str(),
            digest.as_bytes(),
            self.lifetime.as_secs_f64(),
            self.scope as _,
            self.terms.name,
            client,
            self.made_by as _
        )
        .fetch_one(connection)
        .await?;
        Ok(NewToken { token, stored })
    }
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
    /// in at once; [`Error::Invalid`] if there can be no such token.
    pub async fn log_in(
        &self,
        from: IpAddr,
        username: &str,
        password: String,
        terms: TokenTerms<'_>,
    ) -> Result<NewToken> {
        terms.check()?;
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
        let id = TokenId::new();
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
        sqlx::query!(
            "with expired as (delete from tokens where username = $1 and expires_at <= now())
             insert into logins (username, address, succeeded_at) values ($1, $2, now())
             on conflict (username, address) do update set failures = 0, succeeded_at = now()",
            username.as_str(),
            attempt.address()
        )
        .execute(&mut *transaction)
        .await?;
        let (lifetime, scope) = (terms.lifetime(), terms.scope);
        let row = NewTokenRow { id, username: &username, lifetime, scope, made_by: None, terms };
        let new = row.insert(&mut transaction).await?;
        transaction.created(None, &id, &new.stored).await?;
        Ok(new)
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
            ValidToken,
            r#"select tokens.id as "id: TokenId", users.name as "name: UserName",
                      users.permissions as "permissions: Permissions", tokens.scope as "scope: Permissions",
                      tokens.last_used_at is null
                          or tokens.last_used_at < now() - make_interval(secs => $2) as "unnoted!"
               from tokens join users on users.name = tokens.username
               where tokens.secret_sha256 = $1 and tokens.expires_at > now()"#,
            digest.as_bytes(),
            NOTED_EVERY
        );
        // Within a time of its own: some requests have no other before their body is read.
        let valid = self.reads.run(async |connection| Ok(looking.fetch_optional(connection).await?)).await?;
        self.note_use(valid.iter());
        valid.map(ValidToken::into_caller).ok_or(Error::InvalidToken)
    }

    /// Records that these tokens are used, unless that was recorded a short time ago. Callers do not wait for it.
    fn note_use<'h>(&self, used: impl Iterator<Item = &'h ValidToken>) {
        let unnoted: Vec<TokenId> = used.filter(|token| token.unnoted).map(|token| token.id).collect();
        if unnoted.is_empty() {
            return;
        }
        let svc = self.clone();
        tokio::spawn(async move {
            let noting = sqlx::query!(
                "update tokens set last_used_at = now()
                 where id = any($1) and (last_used_at is null or last_used_at < now() - make_interval(secs => $2))",
                &unnoted as _,
                NOTED_EVERY
            );
            if let Err(error) = svc.reads.run(async |connection| Ok(noting.execute(connection).await?)).await {
                debug!("when tokens were used is written down next time: {error}");
            }
        });
    }

    /// Who holds these tokens now. Those that are no longer valid are left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn callers_of(&self, tokens: &[TokenId]) -> Result<Vec<Caller>> {
        let valid = sqlx::query_as!(
            ValidToken,
            r#"select tokens.id as "id: TokenId", users.name as "name: UserName",
                      users.permissions as "permissions: Permissions", tokens.scope as "scope: Permissions",
                      tokens.last_used_at is null
                          or tokens.last_used_at < now() - make_interval(secs => $2) as "unnoted!"
               from tokens join users on users.name = tokens.username
               where tokens.id = any($1) and tokens.expires_at > now()"#,
            tokens as _,
            NOTED_EVERY
        )
        .fetch_all(&self.pool)
        .await?;
        self.note_use(valid.iter());
        Ok(valid.into_iter().map(ValidToken::into_caller).collect())
    }

    /// The caller's own tokens, in this order; with read permission on `_global`, everybody's.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is not a token id.
    pub async fn tokens(&self, caller: &Caller, order: TimeOrder, page: &Page) -> Result<Listed<Token>> {
        let after = page.after_as(TokenId::parse)?;
        let tokens = sqlx::query_as!(
            Token,
            r#"select id as "token_id: TokenId", username as "username: UserName", name, client,
                   scope as "scope: Permissions", made_by as "made_by: TokenId", created_at, expires_at, last_used_at
               from tokens
               where ($1::text is null or username = $1)
                   and ($2::uuid is null or case when $5 then id < $2 else id > $2 end)
                   and ($4::text is null or name like $4)
               order by case when $5 then id end desc, id limit $3"#,
            visible_to(caller, Permission::Read)?,
            after as _,
            page.fetch(),
            page.like(),
            order.is_newest_first()
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
            r#"select id as "token_id: TokenId", username as "username: UserName", name, client,
                   scope as "scope: Permissions", made_by as "made_by: TokenId", created_at, expires_at, last_used_at
               from tokens where id = $1 and ($2::text is null or username = $2)"#,
            id as _,
            visible_to(caller, Permission::Read)?
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Token, id))
    }

    /// Removes tokens that expired longer than `age` ago, at most some hundred. Returns how many: with 0 no more are
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
               returning id as "token_id: TokenId", username as "username: UserName", name, client,
                   scope as "scope: Permissions", made_by as "made_by: TokenId", created_at, expires_at, last_used_at"#,
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
struct ValidToken {
    id: TokenId,
    name: UserName,
    permissions: Permissions,
    scope: Option<Permissions>,
    /// Whether it was long ago that its use was written down.
    unnoted: bool,
}

impl ValidToken {
    fn into_caller(self) -> Caller {
        let Self { id, name, permissions, scope, unnoted: _ } = self;
        // REST adds where a request comes from.
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
