//! What has no server of its own to be tried on: Bitbucket Cloud is at one address only.

use serde_json::json;

use super::{Api, Owner};
use crate::datasvc::GitProviderType;

#[test]
fn bitbucket_cloud_is_asked_as_it_documents() {
    let (api, at) = Api::of(GitProviderType::Bitbucket, None).unwrap();
    let (path, body) = api.creation("acme", "site", Owner::Organization);
    // https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/
    assert_eq!(format!("{at}{path}"), "https://api.bitbucket.org/2.0/repositories/acme/site");
    assert_eq!(body, json!({ "scm": "git", "is_private": true }));
    assert_eq!(format!("{at}{}", api.path("acme", "site")), format!("{at}{path}"));

    let said = |token, basic| api.headers(token, basic).pop().unwrap();
    assert_eq!(said(Some("canary"), None), ("authorization", "Bearer canary".to_owned()));
    // An app password or an API token goes with its username.
    assert_eq!(said(None, Some("ann:canary")), ("authorization", "Basic YW5uOmNhbmFyeQ==".to_owned()));
}

#[test]
fn a_base_url_is_bitbucket_data_center() {
    let (api, at) = Api::of(GitProviderType::Bitbucket, Some("https://git.example.com/")).unwrap();
    assert_eq!(at, "https://git.example.com/rest/api/1.0");
    assert_eq!(api.path("scm/ACME", "site"), "/projects/ACME/repos/site");
}

#[test]
fn names_of_groups_are_one_part_of_a_path() {
    let (api, _) = Api::of(GitProviderType::GitLab, None).unwrap();
    assert_eq!(api.path("acme/web", "a?b#c%"), "/projects/acme%2Fweb%2Fa%3Fb%23c%25");
}
