//! Who runs Postgres. It refuses to run as root, so when we are root it runs as somebody with fewer rights.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::error::Error;

pub(super) use crate::account::Account;

/// Users that may run Postgres in place of root, the better one first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who is to run a new cluster.
///
/// # Errors
/// [`Error::NoAccount`] if we are root and there is no other account.
pub(super) fn choose() -> Result<Account, Error> {
    let us = rustix::process::geteuid();
    if !us.is_root() {
        return Ok(Account::us());
    }
    UNPRIVILEGED.iter().find_map(|name| Account::look_up(name)).ok_or(Error::NoAccount)
}

/// Who has to run the cluster in an existing directory: its owner.
///
/// # Errors
/// [`Error::NotOurs`] if that is root, or if we are not root and it is somebody else.
pub(super) fn of_owner(cluster: &Path, owner: &fs::Metadata) -> Result<Account, Error> {
    let us = rustix::process::geteuid();
    let may_run = if us.is_root() { owner.uid() != 0 } else { owner.uid() == us.as_raw() };
    match may_run {
        true => Ok(Account::with_id(owner.uid(), owner.gid())),
        false => Err(Error::NotOurs { cluster: cluster.into(), owner: owner.uid() }),
    }
}
