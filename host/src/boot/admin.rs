//! What `elita admin` does with the database of a server: for whoever has the host, without a token.

use anyhow::Context as _;

use crate::config::Settings;
use crate::data_dir::{self, DataDir};
use crate::datasvc::{DataSvc, LostSecrets, SecretKeys, UserName};
use crate::postgres::Embedded;

/// As few connections as it takes.
const CONNECTIONS: u32 = 2;

/// Gives a user of the server with these settings another password: that of the settings, or a random one, which is
/// returned.
///
/// # Errors
/// If the database cannot be reached, which is so if it belongs to a server that runs; if there is no such user.
pub async fn reset_password(username: &UserName, settings: &Settings) -> anyhow::Result<Option<String>> {
    let made = match settings.admin_password {
        Some(_) => None,
        None => Some(format!("{:032x}", rand::random::<u128>())),
    };
    let password = settings.admin_password.as_ref().or(made.as_ref()).context("there is no password")?;
    on_database(settings, async |svc| Ok(svc.reset_password(username, password).await?)).await?;
    Ok(made)
}

/// Has receipts signed with a new key from now on. Returns its id.
///
/// # Errors
/// If the database cannot be reached; if the secret key is not that of the database.
pub async fn replace_receipt_key(settings: &Settings) -> anyhow::Result<String> {
    let keys = secret_keys(settings)?;
    on_database(settings, async |svc| Ok(svc.use_secret_keys(keys).await?.replace_receipt_key().await?)).await
}

/// What was sealed with secret keys that the server with these settings does not have. It is forgotten, if it is to be.
///
/// # Errors
/// If the database cannot be reached; if some server works with it, which has the key then.
pub async fn lost_secrets(settings: &Settings, forgets: bool) -> anyhow::Result<LostSecrets> {
    let keys = secret_keys(settings)?;
    on_database(settings, async |svc| Ok(svc.lost_secrets(&keys, forgets).await?)).await
}

fn secret_keys(settings: &Settings) -> anyhow::Result<SecretKeys> {
    let file = settings.secret_key_file();
    let unusable = || format!("the secret key in {} cannot be used", file.display());
    SecretKeys::parse(&data_dir::secret_key(&file, SecretKeys::generate)?).with_context(unusable)
}

/// Does something with the database of these settings; with that of the server's own Postgres where they name none.
async fn on_database<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(DataSvc) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let on = async |url: &str| {
        let svc = DataSvc::connect(url, CONNECTIONS).await?;
        let done = work(svc.clone()).await;
        svc.close().await;
        done
    };
    if let Some(url) = &settings.database_url {
        return on(url).await;
    }
    // Where nothing is, nothing is made.
    anyhow::ensure!(
        settings.data_dir.join("postgres").exists() || settings.data_dir.join("host-id").exists(),
        "{} is not the data directory of a server; name it with --data-dir",
        settings.data_dir.display()
    );
    let data_dir = DataDir::open(&settings.data_dir)?;
    let postgres = Embedded::start(&data_dir).await.context("the embedded Postgres did not start")?;
    let done = on(postgres.url()).await;
    postgres.stop().await;
    done
}
