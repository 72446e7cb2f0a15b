//! The imported interface `package-maps`.

use std::collections::BTreeMap;

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{AppName, Error, Expected, PackageMap, PackageMapName, PackageName, PackageRule, PackageRules};
use crate::plugin::bindings::elita::plugin::package_maps;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl package_maps::Host for GuestState {
    async fn get(&mut self, application: String, map: String) -> Result<package_maps::PackageMap, HostError> {
        let call = self.call("package-maps.get", &[&application, &map])?;
        let (application, map) = (AppName::parse(application)?, PackageMapName::parse(map)?);
        let map = call.timed(call.svc.package_map(&call.caller, &application, &map)).await?;
        Ok(map.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("package-maps.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.svc.package_maps(&call.caller, &application, &part)).await?;
        Ok(names(listed, |map| map.name.to_string()))
    }

    async fn create(
        &mut self,
        application: String,
        map: String,
        packages: Vec<package_maps::PackageRule>,
        kept: String,
    ) -> Result<package_maps::PackageMap, HostError> {
        let call = self.call("package-maps.create", &[&application, &map])?;
        let (application, map) = (AppName::parse(application)?, PackageMapName::parse(map)?);
        let (packages, kept) = (packages.try_into()?, attributes(kept)?);
        let created = call.svc.create_package_map(&call.caller, &application, &map, &packages, &kept);
        Ok(call.timed(created).await?.try_into()?)
    }

    async fn update(
        &mut self,
        application: String,
        map: String,
        patch: String,
    ) -> Result<package_maps::PackageMap, HostError> {
        let call = self.call("package-maps.update", &[&application, &map])?;
        let (application, map) = (AppName::parse(application)?, PackageMapName::parse(map)?);
        let patch = change(patch)?;
        let updated = call.svc.update_package_map(&call.caller, &application, &map, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String, map: String) -> Result<(), HostError> {
        let call = self.call("package-maps.delete", &[&application, &map])?;
        let (application, map) = (AppName::parse(application)?, PackageMapName::parse(map)?);
        let deleted = call.svc.delete_package_map(&call.caller, &application, &map, &Expected::Any);
        call.timed(deleted).await
    }
}

impl TryFrom<Vec<package_maps::PackageRule>> for PackageRules {
    type Error = Error;

    fn try_from(rules: Vec<package_maps::PackageRule>) -> Result<Self, Error> {
        let mut packages = BTreeMap::new();
        for rule in rules {
            let package_maps::PackageRule { name, patterns, remove_prefix, prefix } = rule;
            let name = PackageName::parse(name)?;
            let rule = PackageRule { patterns, remove_prefix, prefix };
            if let Some(_first) = packages.insert(name.clone(), rule) {
                return Err(Error::invalid("packages", format!("package `{name}` is listed twice")));
            }
        }
        Ok(Self(packages))
    }
}

impl TryFrom<PackageMap> for package_maps::PackageMap {
    type Error = Error;

    fn try_from(map: PackageMap) -> Result<Self, Error> {
        let PackageMap { name, application, app_name: _, packages, attributes, created_at, updated_at, revision: _ } =
            map;
        let packages = packages.0.into_iter().map(|(name, rule)| {
            let PackageRule { patterns, remove_prefix, prefix } = rule;
            package_maps::PackageRule { name: name.to_string(), patterns, remove_prefix, prefix }
        });
        Ok(Self {
            application: application.to_string(),
            name: name.to_string(),
            packages: packages.collect(),
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
