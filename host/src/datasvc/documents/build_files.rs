//! The paths in a build's file. They may be very many, so that they are not part of the build's document: they are
//! stored a thousand to a row, and read page by page.

use globset::{GlobBuilder, GlobMatcher};
use sqlx::PgConnection;

use super::builds::BuildFiles;
use crate::datasvc::DataSvc;
use crate::datasvc::access::aside::aside;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::aside::Aside;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName};
use crate::datasvc::ground::page::{Listed, Page};

/// How many paths are in a row.
const PATHS_OF_A_PART: i64 = 1000;
/// How many rows one page looks at, at most. A page that ends there is short, and says where to go on.
const PARTS_OF_A_PAGE: i64 = 20;
/// The longest glob, in bytes.
const MAX_GLOB_BYTES: usize = 512;

impl DataSvc {
    /// The paths in a build's file, bytewise in order; with a glob those that it matches. A page may be short, and even
    /// empty, though more come after it: no request looks at more than 20,000 paths.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the build; [`Error::Denied`] without read permission on the application;
    /// [`Error::Invalid`] if the glob is not valid.
    pub async fn build_files(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        glob: Option<&str>,
        page: &Page,
    ) -> Result<Listed<String>> {
        caller.require(Permission::Read, application)?;
        if glob.is_some_and(|glob| glob.len() > MAX_GLOB_BYTES) {
            return Err(Error::invalid("glob", format!("a glob has at most {MAX_GLOB_BYTES} bytes")));
        }
        let reading = sqlx::query_scalar!(
            r#"select paths as "paths?" from builds left join lateral (
                   select part, paths from build_files
                   where build_files.application = builds.application and build = builds.name
                       and ($3::text is null or last_path > $3)
                   order by part limit $4
               ) as parts on true
               where builds.application = $1 and builds.name = $2 order by part"#,
            application.as_str(),
            name.as_str(),
            page.after(),
            PARTS_OF_A_PAGE
        );
        let parts = self.reads.run(async |connection| Ok(reading.fetch_all(connection).await?)).await?;
        if parts.is_empty() {
            return Err(Error::not_found(Noun::Build, name));
        }
        let looked_at: Vec<String> = parts.into_iter().flatten().flatten().collect();
        let Some(glob) = glob else { return listed(looked_at, None, page) };
        let (glob, page) = (glob.to_owned(), page.clone());
        aside(caller, move |aside| listed(looked_at, Some(matcher(&glob, aside)?), &page)).await?
    }
}

/// Of the paths that one page looks at, those that match.
fn listed(looked_at: Vec<String>, glob: Option<GlobMatcher>, page: &Page) -> Result<Listed<String>> {
    let cut_off = i64::try_from(looked_at.len()).map_err(Error::internal)? >= PARTS_OF_A_PAGE * PATHS_OF_A_PART;
    let last = looked_at.last().filter(|_| cut_off).cloned();
    let found = looked_at.into_iter().filter(|path| page.after().is_none_or(|after| path.as_str() > after));
    let found = found.filter(|path| glob.as_ref().is_none_or(|glob| glob.is_match(path)));
    let listed = page.of(found.collect(), |path| path);
    Ok(Listed { next: listed.next.or(last), items: listed.items })
}

/// Gives a build these paths in place of all that it had.
pub(super) async fn replace(
    connection: &mut PgConnection,
    application: &AppName,
    build: &str,
    BuildFiles(paths): &BuildFiles,
) -> Result<()> {
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    sqlx::query!("delete from build_files where application = $1 and build = $2", application.as_str(), build)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        r#"insert into build_files (application, build, part, last_path, paths)
           select $1, $2, (place - 1) / $4, max(path collate "C"), array_agg(path order by place)
           from unnest($3::text[]) with ordinality as paths (path, place) group by (place - 1) / $4"#,
        application.as_str(),
        build,
        &paths as _,
        PATHS_OF_A_PART
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What it matches. To make it may take long, and so may every match.
fn matcher(glob: &str, _aside: &Aside) -> Result<GlobMatcher> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    let built = built.map_err(|error| Error::invalid("glob", format!("it is not a glob: {}", error.kind())))?;
    Ok(built.compile_matcher())
}
