//! The documents of applications and of the installation: builds, servers, git repositories, plugins and so on.
//!
//! A noun is a file, with its types, its rules and its queries.

pub(super) mod applications;
pub(super) mod build_files;
pub(super) mod builds;
pub(super) mod census;
pub(super) mod commands;
pub(super) mod deployments;
pub(super) mod drift;
pub(super) mod events;
pub(super) mod file_url;
pub(super) mod git_history;
pub(super) mod git_hosts;
pub(super) mod git_providers;
pub(super) mod git_reach;
pub(super) mod git_repo_work;
pub(super) mod git_repos;
pub(super) mod git_uri;
pub(super) mod gitdeploy_work;
pub(super) mod gitdeploys;
pub(super) mod groups;
pub(super) mod keypairs;
pub(super) mod lost_secrets;
pub(super) mod package_maps;
pub(super) mod packages;
pub(super) mod plugin_access;
pub(super) mod plugins;
pub(super) mod pulls;
pub(super) mod receipts;
pub(super) mod referrers;
pub(super) mod retention;
pub(super) mod servers;
pub(super) mod shared_packages;
pub(super) mod storage;
pub(super) mod uploads;
