//! The host's functions, as this crate calls them: the bindings in a component, and off the host what
//! [`testing`](crate::testing) has in their place.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::elita::plugin::{
    actions, applications, builds, deployments, git_providers, git_repos, gitdeploys, groups, jobs, package_maps,
    remote, salt, servers,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::host::{
    actions, applications, builds, deployments, git_providers, git_repos, gitdeploys, groups, http, jobs, log,
    package_maps, remote, salt, servers,
};

#[cfg(target_family = "wasm")]
pub(crate) mod log {
    pub(crate) use crate::bindings::elita::plugin::log::{Level, write, write as record};
}

#[cfg(target_family = "wasm")]
pub(crate) mod http {
    use crate::Result;
    use crate::http::{Request, Response};

    pub(crate) fn send(request: Request) -> Result<Response> {
        request.hand_over()
    }
}
