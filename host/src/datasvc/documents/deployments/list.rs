//! Lists of deployments.

use time::OffsetDateTime;

use super::{Deployment, DeploymentStatus};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, JobId};
use crate::datasvc::ground::page::{Listed, Page, TimeOrder};

/// How many deployments one request looks at, if only those are wanted that stand somewhere.
const LOOKED_AT: i64 = 2_000;

/// Which deployments to list. What is `None` or empty filters nothing.
#[derive(Clone, Debug, Default)]
pub struct DeploymentFilter {
    /// Those that stand at one of these.
    pub statuses: Vec<DeploymentStatus>,
    /// Those created at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those created before this time.
    pub until: Option<OffsetDateTime>,
    /// Which come first.
    pub order: TimeOrder,
}

impl DataSvc {
    /// The deployments of an application that the filter lets through, in its order; with their plans and their progress
    /// if they are to have details. A page may be short, and even empty, though more come after it.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`] without the application; [`crate::datasvc::Error::Denied`] without read
    /// permission on it.
    pub async fn deployments(
        &self,
        caller: &Caller,
        application: &AppName,
        filter: &DeploymentFilter,
        details: bool,
        page: &Page,
    ) -> Result<Listed<Deployment>> {
        caller.require(Permission::Read, application)?;
        let (after, last) = filter.order.ids(page.after_as(JobId::parse)?, filter.since, filter.until);
        let horizon = self.horizon(application, filter, (after, last)).await?;
        let ids = (after, horizon.unwrap_or(last));
        let found = self.read_deployments(application, None, filter, ids, page.fetch(), details).await?;
        let found = futures_util::stream::iter(found.into_iter().map(Ok));
        let listed = page.gather(found, |deployment| deployment.id.to_string()).await?;
        let next = listed.next.or(horizon.map(|id| id.to_string()));
        let listed = Listed { next, ..listed };
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Up to where a list is looked at, if not all of it is.
    async fn horizon(
        &self,
        application: &AppName,
        filter: &DeploymentFilter,
        (after, last): (JobId, JobId),
    ) -> Result<Option<JobId>> {
        if filter.statuses.is_empty() {
            return Ok(None);
        }
        let looking = sqlx::query_scalar!(
            r#"select id as "id: JobId" from deployments
               where application = $1 and case when $4 then id < $2 and id >= $3 else id > $2 and id <= $3 end
               order by case when $4 then id end desc, id offset $5::bigint - 1 limit 1"#,
            application.as_str(),
            after as _,
            last as _,
            filter.order.is_newest_first(),
            LOOKED_AT
        );
        Ok(looking.fetch_optional(&self.pool).await?)
    }
}
