//! Which servers get which gitdeploys in which batch.
//!
//! The servers of a rolling group are split into runs. The first batches of all groups are one batch, the second ones
//! another, and so on. A pair of a server and a gitdeploy is in one batch only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::datasvc::ground::ids::{GitdeployName, GroupName, ServerName};

/// A gitdeploy on a server.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeploymentTarget)]
pub struct Target {
    /// The server.
    pub server: ServerName,
    /// The gitdeploy.
    pub gitdeploy: GitdeployName,
}

/// What is deployed at the same time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeploymentBatch)]
pub struct Batch {
    /// All servers of it, by name.
    pub servers: Vec<ServerName>,
    /// All gitdeploys of it, by name.
    pub gitdeploys: Vec<GitdeployName>,
    /// Whether a later stage of all its groups comes after it.
    pub ordered_gitdeploy: bool,
    /// Which gitdeploy goes to which server.
    pub targets: Vec<Target>,
}

impl Batch {
    /// That of these targets; `None`: no targets were given.
    pub(in crate::datasvc) fn of(targets: BTreeSet<Target>, ordered_gitdeploy: bool) -> Option<Self> {
        let servers: BTreeSet<_> = targets.iter().map(|target| target.server.clone()).collect();
        let gitdeploys: BTreeSet<_> = targets.iter().map(|target| target.gitdeploy.clone()).collect();
        (!targets.is_empty()).then(|| Self {
            servers: servers.into_iter().collect(),
            gitdeploys: gitdeploys.into_iter().collect(),
            ordered_gitdeploy,
            targets: targets.into_iter().collect(),
        })
    }
}

/// A group, as far as batches are concerned.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: GroupName,
    /// Whether its servers are split.
    pub(super) is_rolling: bool,
    /// Its gitdeploys, stage by stage; one that is not ordered has one stage.
    pub(super) stages: Vec<Vec<GitdeployName>>,
    /// Whether its stages are an order.
    pub(super) is_ordered: bool,
    /// Its servers, by name.
    pub(super) servers: Vec<ServerName>,
}

/// A batch that is being put together.
#[derive(Default)]
struct Draft {
    targets: BTreeSet<Target>,
    /// Whether all rolling groups would flag it; `None`: the batch has no rolling group.
    rolling: Option<bool>,
    /// The same of those that are not rolling.
    at_once: Option<bool>,
}

/// The batches, and what somebody should know about them.
pub(super) fn batches(groups: &[Member], divisor: u32) -> (Vec<Batch>, Vec<String>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut ordered = BTreeSet::new();
    for group in groups {
        let runs = if group.is_rolling { runs(&group.servers, divisor) } else { runs(&group.servers, 1) };
        let steps = runs.into_iter().flat_map(|run| {
            let last = group.stages.len() - 1;
            group.stages.iter().enumerate().map(move |(stage, names)| (run, names, group.is_ordered && stage < last))
        });
        for (place, (servers, names, flag)) in steps.enumerate() {
            if drafts.len() == place {
                drafts.push(Draft::default());
            }
            let draft = &mut drafts[place];
            let side = if group.is_rolling { &mut draft.rolling } else { &mut draft.at_once };
            *side = Some(side.unwrap_or(true) && flag);
            for server in servers {
                for gitdeploy in names {
                    let target = Target { server: server.clone(), gitdeploy: gitdeploy.clone() };
                    if group.is_ordered {
                        ordered.insert(target.clone());
                    }
                    draft.targets.insert(target);
                }
            }
        }
    }
    deploy_once(&mut drafts, &ordered);
    let batches: Vec<_> = drafts
        .into_iter()
        .filter_map(|Draft { targets, rolling, at_once }| Batch::of(targets, at_once.or(rolling).unwrap_or(false)))
        .collect();
    let warnings = out_of_order(groups, &batches);
    (batches, warnings)
}

/// The servers in their order, in at most so many parts, whose sizes differ by at most one; the first ones get more.
fn runs(servers: &[ServerName], divisor: u32) -> Vec<&[ServerName]> {
    let count = servers.len().min(usize::try_from(divisor).unwrap_or(usize::MAX));
    if count == 0 {
        return Vec::new();
    }
    let (size, larger) = (servers.len() / count, servers.len() % count);
    let mut rest = servers;
    (0..count)
        .map(|place| {
            let (run, behind) = rest.split_at(size + usize::from(place < larger));
            rest = behind;
            run
        })
        .collect()
}

/// Leaves each target in the first batch that has it, or in the last, where it is an ordered group's.
fn deploy_once(drafts: &mut [Draft], ordered: &BTreeSet<Target>) {
    let mut places: BTreeMap<Target, usize> = BTreeMap::new();
    for (place, draft) in drafts.iter().enumerate() {
        for target in &draft.targets {
            if ordered.contains(target) || !places.contains_key(target) {
                places.insert(target.clone(), place);
            }
        }
    }
    for (place, draft) in drafts.iter_mut().enumerate() {
        draft.targets.retain(|target| places.get(target) == Some(&place));
    }
}

/// Where groups that share servers ask for contrary orders, one of them does not get its own.
fn out_of_order(groups: &[Member], batches: &[Batch]) -> Vec<String> {
    let numbered = batches.iter().enumerate().flat_map(|(at, batch)| batch.targets.iter().map(move |t| (t, at)));
    let places: BTreeMap<_, _> = numbered.collect();
    let mut warnings = Vec::new();
    for group in groups.iter().filter(|group| group.is_ordered) {
        let wrong = group.servers.iter().find(|server| {
            let place = |gitdeploy: &GitdeployName| {
                let target = Target { server: (*server).clone(), gitdeploy: gitdeploy.clone() };
                places.get(&target).copied()
            };
            let stages: Vec<Vec<_>> =
                group.stages.iter().map(|names| names.iter().filter_map(place).collect()).collect();
            stages.windows(2).any(|pair| pair[0].iter().max() >= pair[1].iter().min())
        });
        if let Some(server) = wrong {
            warnings.push(format!(
                "the stages of group `{}` are not in their order on server `{server}`, because another group asks for \
                 some of the same gitdeploys there; deploy them one after the other",
                group.name
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
