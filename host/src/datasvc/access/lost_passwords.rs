//! A new password for who has lost theirs, set by whoever has the host: they can read the database anyway.

use super::users::check_password;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::UserName;

impl DataSvc {
    /// Gives a user this password. The user's tokens end, and logins that failed are forgotten.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] if it is not a password; [`Error::Unavailable`].
    pub async fn reset_password(&self, name: &UserName, password: &str) -> Result<()> {
        check_password(password)?;
        let hash = self.passwords.hash(None, password.to_owned()).await?;
        let reset = sqlx::query!(
            r#"with reset as (
                   update users set password_hash = $2, revision = nextval('revisions'), updated_at = now()
                   where name = $1 returning name
               ), ended as (
                   delete from tokens where username in (select name from reset)
               ), forgiven as (
                   delete from logins where username in (select name from reset)
               )
               insert into audit (operation, name, username, after)
               select 'users.reset-password', name, name,
                   json_build_object('username', name, 'password_changed', true, 'by', 'whoever has the host')
               from reset"#,
            name.as_str(),
            hash
        );
        match reset.execute(&self.pool).await?.rows_affected() {
            0 => Err(Error::not_found(Noun::User, name)),
            _ => Ok(()),
        }
    }
}
