use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Batch, Member, Target, batches, runs};
use crate::datasvc::ground::ids::{GitdeployName, GroupName, ServerName};

/// How many arrangements are tried.
const SEEDS: u64 = 2000;

fn server(name: &str) -> ServerName {
    ServerName::parse(name).unwrap()
}

fn gitdeploy(name: &str) -> GitdeployName {
    GitdeployName::parse(name).unwrap()
}

/// A group: `rolling` or not, its stages as `a b | c`, and its servers.
fn group(name: &str, is_rolling: bool, stages: &str, servers: &str) -> Member {
    let stage = |names: &str| names.split_whitespace().map(gitdeploy).collect();
    Member {
        name: GroupName::parse(name).unwrap(),
        is_rolling,
        stages: stages.split('|').map(stage).collect(),
        is_ordered: stages.contains('|'),
        servers: servers.split_whitespace().map(server).collect(),
    }
}

/// Each batch as `server:gitdeploy …`, with `!` behind it where it is flagged.
fn shown(groups: &[Member], divisor: u32) -> Vec<String> {
    let line = |batch: &Batch| {
        let targets: Vec<_> = batch.targets.iter().map(|t| format!("{}:{}", t.server, t.gitdeploy)).collect();
        targets.join(" ") + if batch.ordered_gitdeploy { " !" } else { "" }
    };
    batches(groups, divisor).0.iter().map(line).collect()
}

#[test]
fn a_rolling_group_is_split_and_its_first_runs_get_more() {
    let groups = [group("web", true, "site", "a b c d e")];
    assert_eq!(shown(&groups, 2), ["a:site b:site c:site", "d:site e:site"]);
    assert_eq!(shown(&groups, 3), ["a:site b:site", "c:site d:site", "e:site"]);
    assert_eq!(shown(&groups, 9).len(), 5);
    assert_eq!(shown(&groups, 1).len(), 1);
}

#[test]
fn stages_of_an_ordered_group_come_one_after_the_other_in_each_run() {
    let groups = [group("web", true, "db | app", "a b")];
    assert_eq!(shown(&groups, 2), ["a:db !", "a:app", "b:db !", "b:app"]);
}

#[test]
fn batches_of_several_rolling_groups_are_flagged_if_all_are() {
    let groups = [group("web", true, "db | app", "a b"), group("api", true, "api", "c d")];
    assert_eq!(shown(&groups, 2), ["a:db c:api", "a:app d:api", "b:db !", "b:app"]);
    let both = [group("web", true, "db | app", "a"), group("api", true, "x | y", "c")];
    assert_eq!(shown(&both, 2), ["a:db c:x !", "a:app c:y"]);
}

#[test]
fn the_flag_of_what_does_not_roll_decides() {
    let groups = [group("web", true, "db | app", "a b"), group("once", false, "cron", "c")];
    assert_eq!(shown(&groups, 2), ["a:db c:cron", "a:app", "b:db !", "b:app"]);
    let ordered = [group("api", true, "api", "a b"), group("once", false, "x | y | z", "c")];
    assert_eq!(shown(&ordered, 2), ["a:api c:x !", "b:api c:y !", "c:z"]);
    let several = [group("one", false, "x | y", "c"), group("two", false, "z", "d")];
    assert_eq!(shown(&several, 2), ["c:x d:z", "c:y"]);
}

#[test]
fn what_several_groups_ask_for_is_deployed_once() {
    // Without an order in the first batch that has it, and what is emptied by that is dropped.
    let groups = [group("all", false, "site", "a b"), group("web", true, "site", "a b")];
    assert_eq!(shown(&groups, 2), ["a:site b:site"]);
    // An ordered group has it in the last, so that none of its stages comes early.
    let ordered = [group("all", false, "app", "a"), group("web", true, "db | app", "a")];
    assert_eq!(shown(&ordered, 2), ["a:db", "a:app"]);
}

#[test]
fn contrary_orders_are_told() {
    let groups = [group("one", true, "x | y", "a"), group("two", true, "y | x", "a")];
    let (_, warnings) = batches(&groups, 2);
    assert!(!warnings.is_empty() && warnings[0].contains("on server `a`"), "{warnings:?}");
    assert_eq!(batches(&groups[..1], 2).1, [""; 0]);
}

#[test]
fn every_target_is_in_one_batch_sizes_are_even_and_stages_keep_their_order() {
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let groups: Vec<_> = (0..random.random_range(1..5)).map(|number| arbitrary(&mut random, number)).collect();
        let divisor = random.random_range(1..6);
        let (found, warnings) = batches(&groups, divisor);
        let mut places: BTreeMap<&Target, usize> = BTreeMap::new();
        for (place, batch) in found.iter().enumerate() {
            assert!(!batch.targets.is_empty(), "seed {seed}");
            for target in &batch.targets {
                assert_eq!(places.insert(target, place), None, "seed {seed}: {target:?} is there twice");
                assert!(batch.servers.contains(&target.server) && batch.gitdeploys.contains(&target.gitdeploy));
            }
        }
        let asked: BTreeSet<Target> = groups.iter().flat_map(targets).collect();
        assert_eq!(places.keys().copied().cloned().collect::<BTreeSet<_>>(), asked, "seed {seed}");
        for group in &groups {
            let sizes: Vec<_> = runs(&group.servers, divisor).iter().map(|run| run.len()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "seed {seed}: {sizes:?}");
            assert!(sizes.is_sorted_by(|one, other| one >= other) && sizes.len() <= divisor as usize, "seed {seed}");
            let keeps = !group.is_ordered || group.servers.iter().all(|server| in_order(group, server, &places));
            let is_told = warnings.iter().any(|warning| warning.contains(&format!("`{}`", group.name)));
            assert_eq!(keeps, !is_told, "seed {seed}: {group:?} {found:?}");
        }
        // Groups that have nothing in common always keep their order.
        if groups.iter().map(|group| targets(group).count()).sum::<usize>() == asked.len() {
            assert_eq!(warnings, [""; 0], "seed {seed}");
        }
    }
}

fn targets(group: &Member) -> impl Iterator<Item = Target> + '_ {
    group.servers.iter().flat_map(|server| {
        let names = group.stages.iter().flatten();
        names.map(move |gitdeploy| Target { server: server.clone(), gitdeploy: gitdeploy.clone() })
    })
}

fn in_order(group: &Member, server: &ServerName, places: &BTreeMap<&Target, usize>) -> bool {
    let place = |gitdeploy: &GitdeployName| {
        let target = Target { server: server.clone(), gitdeploy: gitdeploy.clone() };
        places[&target]
    };
    group
        .stages
        .windows(2)
        .all(|pair| pair[0].iter().map(place).max().unwrap() < pair[1].iter().map(place).min().unwrap())
}

fn arbitrary(random: &mut StdRng, number: usize) -> Member {
    let mut names: Vec<_> = ["p", "q", "r", "s", "t"].to_vec();
    names.retain(|_| random.random_bool(0.6));
    if names.is_empty() {
        names.push("p");
    }
    let separator = if random.random_bool(0.5) { " | " } else { " " };
    let servers: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().filter(|_| random.random_bool(0.6)).collect();
    let servers = if servers.is_empty() { "a".to_owned() } else { servers.join(" ") };
    group(&format!("g{number}"), random.random_bool(0.6), &names.join(separator), &servers)
}
