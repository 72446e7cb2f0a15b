//! Package maps: which files of a build each of its packages holds. Here are their rules; packaging reads them.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::openapi::{Object, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, PackageMapName, PackageName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::{OnConstraint as _, json_column};

/// The package that every build has: the uploaded file.
pub const MASTER: &str = "master";
/// How many packages a map may have.
const MAX_PACKAGES: usize = 100;
/// How many patterns a package may have.
const MAX_PATTERNS: usize = 100;
/// The longest pattern or prefix, in bytes.
const MAX_PATH_BYTES: usize = 512;
/// The longest map of packages, as JSON in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// A package map.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PackageMap {
    /// Unique within the application.
    pub name: PackageMapName,
    /// The application it is of.
    pub application: AppName,
    /// The same, by the name that it had first.
    pub app_name: AppName,
    /// The packages that it makes of an upload.
    pub packages: PackageRules,
    /// What users keep with it.
    pub attributes: Attributes,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// What is in each package, by the packages' names: 1 to 100 packages, 64 KiB together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PackageRules(pub BTreeMap<PackageName, PackageRule>);

impl PartialSchema for PackageRules {
    fn schema() -> RefOr<Schema> {
        let rules = Object::builder().additional_properties(Some(Ref::from_schema_name(PackageRule::name())));
        let names = PackageName::schema();
        let rules = if let RefOr::T(names) = names { rules.property_names(Some(names)) } else { rules };
        rules.min_properties(Some(1)).max_properties(Some(MAX_PACKAGES)).into()
    }
}

impl ToSchema for PackageRules {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((PackageRule::name().into_owned(), PackageRule::schema()));
        PackageRule::schemas(schemas);
    }
}

/// What is in a package, and under which paths.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRule {
    /// Globs of the paths in the uploaded file, from its root on. `*` stays within a directory, `**` does not.
    #[schema(min_items = 1, max_items = 100, value_type = Vec<Pattern>, example = json!(["web/**", "LICENSE"]))]
    pub patterns: Vec<String>,
    /// What is removed, once, from the beginning of each path that begins with it.
    #[serde(default)]
    #[schema(format = "path-prefix", max_length = 512, example = "web/")]
    pub remove_prefix: Option<String>,
    /// What is put before each path after that.
    #[serde(default)]
    #[schema(format = "path-prefix", max_length = 512, example = "htdocs/")]
    pub prefix: Option<String>,
}

/// A glob of paths.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = "glob", max_length = 512)]
#[expect(dead_code, reason = "it describes a pattern; what is read is a text")]
struct Pattern(String);

json_column!(PackageRules);

/// What can be changed of a package map.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PackageMapChange)]
pub struct Change {
    #[serde(default)]
    packages: PackageRules,
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Makes a package map.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of what cannot be in `packages`; [`Error::AlreadyExists`];
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without write permission on it.
    pub async fn create_package_map(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &PackageMapName,
        packages: &PackageRules,
        attributes: &Attributes,
    ) -> Result<PackageMap> {
        caller.require(Permission::Write, application)?;
        packages.check()?;
        let mut transaction = self.change(caller, "package-maps.create").await?;
        let created = sqlx::query_as!(
            PackageMap,
            r#"insert into package_maps (application, name, packages, attributes) values ($1, $2, $3, $4)
               returning name as "name: PackageMapName", application as "application: AppName", application as "app_name: AppName",
                   packages as "packages: PackageRules", attributes as "attributes: Attributes", created_at,
                   updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            packages as _,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await;
        let map = created.on_constraints(&[
            ("package_maps_pkey", &|| Error::already_exists(Kind::PackageMap, name)),
            ("package_maps_application_fkey", &|| Error::not_found(Kind::Application, application)),
        ])?;
        transaction.created(Some(application), name, &map).await?;
        Ok(map)
    }

    /// One package map.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application.
    pub async fn package_map(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &PackageMapName,
    ) -> Result<PackageMap> {
        caller.require(Permission::Read, application)?;
        sqlx::query_as!(
            PackageMap,
            r#"select name as "name: PackageMapName", application as "application: AppName", application as "app_name: AppName",
                   packages as "packages: PackageRules", attributes as "attributes: Attributes", created_at,
                   updated_at, revision as "revision: Revision"
               from package_maps where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::PackageMap, name))
    }

    /// What a package map says, for the host's own work.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn package_rules(&self, application: &AppName, name: &PackageMapName) -> Result<PackageRules> {
        sqlx::query_scalar!(
            r#"select packages as "packages: PackageRules" from package_maps where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::PackageMap, name))
    }

    /// The package maps of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it.
    pub async fn package_maps(
        &self,
        caller: &Caller,
        application: &AppName,
        page: &Page,
    ) -> Result<Listed<PackageMap>> {
        caller.require(Permission::Read, application)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            PackageMap,
            r#"select name as "name: PackageMapName", application as "application: AppName", application as "app_name: AppName",
                   packages as "packages: PackageRules", attributes as "attributes: Attributes", created_at,
                   updated_at, revision as "revision: Revision"
               from package_maps
               where application = $1 and ($2::text is null or case when $5 then (created_at, name) < ($6, $2)
                           when $7 then (created_at, name) > ($6, $2) else name > $2 end) and ($4::text is null or name like $4)
               order by case when $5 then created_at end desc, case when $5 then name end desc,
                   case when $7 then created_at end, name limit $3"#,
            application.as_str(),
            start.name,
            page.fetch(),
            page.like(),
            start.is_newest_first,
            start.created_at,
            start.is_oldest_first
        );
        let listed = self
            .reads
            .run(async |connection| {
                page.gather(rows.fetch(connection), |map| page.cursor(map.created_at, map.name.as_str())).await
            })
            .await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Changes the packages and the attributes of a package map.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_package_map(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &PackageMapName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<PackageMap> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "package-maps.update").await?;
        let map = locked(&mut transaction, application, name).await?;
        expected.check(map.revision, Kind::PackageMap, name)?;
        let changeable = Change { packages: map.packages.clone(), attributes: map.attributes.clone() };
        let Change { packages, attributes } = patch.apply(&map, &changeable).await?;
        packages.check()?;
        let updated = sqlx::query_as!(
            PackageMap,
            r#"update package_maps
               set packages = $3, attributes = $4, revision = nextval('revisions'), updated_at = now()
               where application = $1 and name = $2
               returning name as "name: PackageMapName", application as "application: AppName", application as "app_name: AppName",
                   packages as "packages: PackageRules", attributes as "attributes: Attributes", created_at,
                   updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            packages as _,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.updated(Some(application), name, &map, &updated).await?;
        Ok(updated)
    }

    /// Removes a package map. Builds that were packaged by it keep their packages.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected.
    pub async fn delete_package_map(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &PackageMapName,
        expected: &Expected,
    ) -> Result<()> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "package-maps.delete").await?;
        let map = locked(&mut transaction, application, name).await?;
        expected.check(map.revision, Kind::PackageMap, name)?;
        sqlx::query!(
            "delete from package_maps where application = $1 and name = $2",
            application.as_str(),
            name.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        transaction.deleted(Some(application), name, &map).await
    }
}

/// One package map, locked against changes.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &PackageMapName) -> Result<PackageMap> {
    sqlx::query_as!(
        PackageMap,
        r#"select name as "name: PackageMapName", application as "application: AppName", application as "app_name: AppName",
               packages as "packages: PackageRules", attributes as "attributes: Attributes", created_at,
               updated_at, revision as "revision: Revision"
           from package_maps where application = $1 and name = $2 for update"#,
        application.as_str(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::PackageMap, name))
}

impl PackageRules {
    /// # Errors
    /// [`Error::Invalid`] with the path of the first thing that is wrong.
    fn check(&self) -> Result<()> {
        if self.0.is_empty() {
            return Err(Error::invalid("packages", "a package map has at least one package"));
        }
        if self.0.len() > MAX_PACKAGES {
            return Err(Error::invalid("packages", format!("a package map has at most {MAX_PACKAGES} packages")));
        }
        // Before each pattern is looked at.
        let length = serde_json::to_string(self).map_err(Error::internal)?.len();
        if length > MAX_BYTES {
            let problem = format!("they are {length} bytes long, and at most {MAX_BYTES} are taken");
            return Err(Error::invalid("packages", problem));
        }
        for (name, rule) in &self.0 {
            let at = format!("packages/{name}");
            if name.as_str() == MASTER {
                return Err(Error::invalid(at, "`master` is the uploaded file itself; take another name"));
            }
            rule.check(&at)?;
        }
        Ok(())
    }
}

impl PackageRule {
    /// The same for what stands at the path `at`.
    fn check(&self, at: &str) -> Result<()> {
        let Self { patterns, remove_prefix, prefix } = self;
        let count = patterns.len();
        if !(1..=MAX_PATTERNS).contains(&count) {
            let rule = format!("a package has 1 to {MAX_PATTERNS} patterns, not {count}");
            return Err(Error::invalid(format!("{at}/patterns"), rule));
        }
        for (place, pattern) in patterns.iter().enumerate() {
            check_pattern(pattern).map_err(|reason| Error::invalid(format!("{at}/patterns/{place}"), reason))?;
        }
        for (member, prefix) in [("remove_prefix", remove_prefix), ("prefix", prefix)] {
            let checked = prefix.as_deref().map_or(Ok(()), check_path);
            checked.map_err(|reason| Error::invalid(format!("{at}/{member}"), reason))?;
        }
        Ok(())
    }
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("a pattern is not empty; `**` takes all files".into());
    }
    check_path(pattern)?;
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|_| ()).map_err(|error| format!("it is not a glob: {}", error.kind()))
}

/// Refuses what no path in an archive begins with, or what would lead out of one.
fn check_path(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH_BYTES {
        return Err(format!("it is {} bytes long, and at most {MAX_PATH_BYTES} are taken", path.len()));
    }
    if path.contains(char::is_control) {
        return Err("it has no control characters".into());
    }
    if path.starts_with('/') {
        return Err("paths count from the root of the uploaded file; leave the `/` at the beginning out".into());
    }
    if path.split('/').any(|segment| segment == "..") {
        return Err("a path in the uploaded file has no `..`".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
