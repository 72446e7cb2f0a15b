//! Who asks, what they may do, and the record of what they did.
//!
//! Users, their tokens and log-ins, permissions, the audit, and the secrets that are sealed at rest.

pub(super) mod aside;
pub(super) mod audit;
pub(super) mod caller;
pub(super) mod git_tokens;
pub(super) mod handovers;
pub(super) mod logins;
pub(super) mod lost_passwords;
pub(super) mod narrower_tokens;
pub(super) mod passwords;
pub(super) mod permissions;
pub(super) mod quotas;
pub(super) mod receipt_keys;
pub(super) mod secrets;
pub(super) mod sight;
pub(super) mod token_rotation;
pub(super) mod tokens;
pub(super) mod users;
