//! Receipts: signed records of what a server has got, from the upload of a build to the server's disk.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::builds::KeptPackages;
use super::deployments::DEPLOYMENT;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::receipt_keys::Signer;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{
    AppName, BuildName, GitdeployName, JobId, PackageName, PluginName, ServerName, TokenId,
};
use crate::datasvc::ground::page::{Listed, Page, TimeOrder};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::job::Json;

/// The line before what is signed.
const HEADER: &str = "elita-receipt-v1\n";

/// A receipt with its signature.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SignedReceipt {
    /// The receipt's id.
    pub id: JobId,
    /// What is signed, by ed25519: the line `elita-receipt-v1`, and this as canonical JSON (RFC 8785).
    #[schema(value_type = Receipt)]
    pub receipt: Json,
    /// Which of the keys at `/about` it is signed with.
    #[schema(example = "3b1f0a5c9d2e4f60")]
    pub key_id: String,
    /// The signature, in base64.
    pub signature: String,
}

/// What a server has got.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Its id.
    id: JobId,
    /// When the server had it.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// The application.
    application: AppName,
    /// The build.
    build: BuildName,
    /// The gitdeploy by which it came there.
    gitdeploy: GitdeployName,
    /// The server.
    server: ServerName,
    /// The package that was committed. Null if the build was removed meanwhile.
    package: Option<ReceiptPackage>,
    /// The commit.
    commit: ReceiptCommit,
    /// How the build came to Elita. Null if it was removed meanwhile.
    upload: Option<ReceiptUpload>,
    /// How it came to the server.
    deployed: ReceiptDeployed,
}

/// A package of a build.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptPackage {
    /// Its name.
    name: PackageName,
    /// The SHA-256 of its file, 64 hexadecimal digits.
    sha256: String,
}

/// A commit on a server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptCommit {
    /// The commit that the server was to have.
    asked: String,
    /// The commit that its working copy is at, as the server has reported it: another one where the server has commits of
    /// its own.
    reported_by_server: Option<String>,
}

/// How a build came to Elita.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptUpload {
    /// When; null: before that was recorded.
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
    /// By which job.
    job_id: Option<JobId>,
    /// Who has uploaded it.
    username: Option<String>,
    /// With which token: its id.
    token_id: Option<TokenId>,
    /// The SHA-256 of the file that was uploaded, 64 hexadecimal digits.
    sha256: Option<String>,
}

/// How a build came to a server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptDeployed {
    /// By which job.
    job_id: JobId,
    /// By which deployment. Null if it was pulled by itself.
    deployment: Option<JobId>,
    /// Who has asked for it; null: a plugin.
    username: Option<String>,
    /// With which token, of a deployment: its id.
    token_id: Option<TokenId>,
    /// The plugin that has asked for the deployment.
    plugin: Option<PluginName>,
}

/// Which receipts to list.
#[derive(Clone, Debug, Default)]
pub struct ReceiptFilter {
    /// Those of this server.
    pub server: Option<ServerName>,
    /// Those of this build.
    pub build: Option<BuildName>,
    /// Those of this gitdeploy.
    pub gitdeploy: Option<GitdeployName>,
    /// Those of this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those of before this time.
    pub until: Option<OffsetDateTime>,
    /// Which come first.
    pub order: TimeOrder,
}

/// What a server has pulled.
#[derive(Clone, Copy, Debug)]
pub struct PulledOnServer<'a> {
    /// The gitdeploy.
    pub gitdeploy: &'a GitdeployName,
    /// The server.
    pub server: &'a ServerName,
    /// The build, if the commit is one of Elita.
    pub build: Option<&'a BuildName>,
    /// Its package.
    pub package: Option<&'a PackageName>,
    /// The commit.
    pub commit: &'a str,
    /// What the working copy is at, as the server says.
    pub head: Option<&'a str>,
}

impl DataSvc {
    /// The receipts of an application that the filter lets through, in its order.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it.
    pub async fn receipts(
        &self,
        caller: &Caller,
        application: &AppName,
        filter: &ReceiptFilter,
        page: &Page,
    ) -> Result<Listed<SignedReceipt>> {
        caller.require(Permission::Read, application)?;
        let (after, last) = filter.order.ids(page.after_as(JobId::parse)?, filter.since, filter.until);
        let rows = sqlx::query!(
            r#"select id as "id: JobId", content, key_id, signature from receipts
               where application = $1 and ($2::text is null or server = $2) and ($3::text is null or build = $3)
                   and ($4::text is null or gitdeploy = $4)
                   and case when $8 then id < $5 and id >= $6 else id > $5 and id <= $6 end
                   and ($9::timestamptz is null or (content::json ->> 'at')::timestamptz >= $9)
                   and ($10::timestamptz is null or (content::json ->> 'at')::timestamptz < $10)
               order by case when $8 then id end desc, id limit $7"#,
            application.as_str(),
            filter.server.as_ref().map(ServerName::as_str),
            filter.build.as_ref().map(BuildName::as_str),
            filter.gitdeploy.as_ref().map(GitdeployName::as_str),
            after as _,
            last as _,
            page.fetch(),
            filter.order.is_newest_first(),
            filter.since,
            filter.until
        );
        let rows = rows.fetch_all(&self.pool).await?.into_iter().map(|row| {
            let receipt = serde_json::from_str(&row.content).map_err(Error::internal)?;
            Ok(SignedReceipt { id: row.id, receipt, key_id: row.key_id, signature: STANDARD.encode(row.signature) })
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let rows = futures_util::stream::iter(rows.into_iter().map(Ok));
        let listed = page.gather(rows, |receipt| receipt.id.to_string()).await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }
}

/// Signs that a server has pulled a build. To do it again changes nothing.
pub(super) async fn record(
    connection: &mut PgConnection,
    signer: &Signer,
    claim: &Claim,
    pulled: PulledOnServer<'_>,
) -> Result<()> {
    let PulledOnServer { gitdeploy, server, build: Some(build), package, commit, head } = pulled else {
        return Ok(());
    };
    let application = claim.application()?;
    let found = sqlx::query!(
        r#"select now() as "now!", j.token_id as "token_id: TokenId", d.plugin as "plugin: PluginName", b.name as "found?",
               b.packages as "packages?: KeptPackages", b.upload as "upload: JobId", b.uploaded_at,
               b.uploaded_by, b.uploaded_with as "uploaded_with: TokenId"
           from jobs j left join deployments d on d.id = j.id left join builds b on b.application = $2 and b.name = $3
           where j.id = $1"#,
        claim.job_id as _,
        application.as_str(),
        build.as_str()
    );
    let found = found.fetch_one(&mut *connection).await?;
    let sha256_of = |package: &PackageName| {
        let kept = found.packages.as_ref().and_then(|packages| packages.0.get(package));
        kept.map(|kept| kept.file.sha256.clone())
    };
    let master = PackageName::parse("master")?;
    let receipt = Receipt {
        id: JobId::new(),
        at: found.now,
        application: application.clone(),
        build: build.clone(),
        gitdeploy: gitdeploy.clone(),
        server: server.clone(),
        package: package.and_then(|name| Some(ReceiptPackage { name: name.clone(), sha256: sha256_of(name)? })),
        commit: ReceiptCommit { asked: commit.to_owned(), reported_by_server: head.map(str::to_owned) },
        upload: found.found.as_ref().map(|_| ReceiptUpload {
            at: found.uploaded_at,
            job_id: found.upload,
            username: found.uploaded_by.clone(),
            token_id: found.uploaded_with,
            sha256: sha256_of(&master),
        }),
        deployed: ReceiptDeployed {
            job_id: claim.job_id,
            deployment: (claim.job_type.as_str() == DEPLOYMENT).then_some(claim.job_id),
            username: claim.username.clone(),
            token_id: found.token_id,
            plugin: found.plugin,
        },
    };
    let content = canonical(serde_json::to_value(&receipt).map_err(Error::internal)?).to_string();
    let signature = signer.sign(format!("{HEADER}{content}").as_bytes());
    sqlx::query!(
        "insert into receipts (id, application, server, gitdeploy, build, job_id, content, key_id, signature)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (job_id, gitdeploy, server) do nothing",
        receipt.id as _,
        application.as_str(),
        server.as_str(),
        gitdeploy.as_str(),
        build.as_str(),
        claim.job_id as _,
        content,
        signer.key_id(),
        signature
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The same with all members in the order of their names, as RFC 8785 has it: these names are ASCII, and there are no
/// numbers.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.into_iter().map(|(name, value)| (name, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
