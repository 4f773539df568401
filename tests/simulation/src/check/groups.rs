//! Consumer groups: C9 to C12.
//!
//! Owns: no partition with two owners in a generation, generations that only grow, commits that are not
//! forgotten, no commit of an old generation. Never: who should own what.

use std::collections::BTreeMap;

use super::{Counts, Findings, Tp};
use crate::history::{Event, Kind, Op};

#[derive(Debug, Default)]
struct Group {
    /// Owner of a partition within a generation.
    owners: BTreeMap<(i32, Tp), String>,
    /// The last generation that a member was told.
    generations: BTreeMap<String, i32>,
    /// The newest generation that anybody was assigned in, by time.
    newest: i32,
}

#[derive(Debug, Default)]
struct Committed {
    /// Offsets of commits that ended well, and of those that may have.
    tried: Vec<i64>,
    /// The highest that was acknowledged or shown; commits of a run only grow.
    acknowledged: Option<i64>,
    /// The newest generation of the group when a commit was sent, by who sent it.
    sent_in: BTreeMap<String, i32>,
}

pub(super) fn check(events: &[Event], findings: &mut Findings, counts: &mut Counts) {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    let mut offsets: BTreeMap<(&str, &str, i32), Committed> = BTreeMap::new();
    let mut asked: BTreeMap<(&str, &str, &str, i32), Option<i64>> = BTreeMap::new();
    for event in events {
        match (&event.op, event.kind) {
            (Op::Assigned { group, member, generation, partitions }, Kind::Ok) => {
                let state = groups.entry(group).or_default();
                state.assigned(group, member, *generation, partitions, findings);
            }
            (Op::Commit { group, member, generation, topic, partition, offset }, kind) => {
                let key = (group.as_str(), topic.as_str(), *partition);
                let state = offsets.entry(key).or_default();
                match kind {
                    Kind::Invoke => {
                        state.tried.push(*offset);
                        let newest = groups.get(group.as_str()).map_or(0, |group| group.newest);
                        state.sent_in.insert(event.proc.clone(), newest);
                    }
                    Kind::Ok => {
                        counts.commits += 1;
                        state.acknowledged = state.acknowledged.max(Some(*offset));
                        let newest = state.sent_in.get(&event.proc).copied().unwrap_or(0);
                        if *generation < newest {
                            let what = format!(
                                "group {group}: {member} committed {topic}-{partition} in generation \
                                 {generation} after generation {newest} began"
                            );
                            findings.add("C12", what);
                        }
                        let group_state = groups.entry(group).or_default();
                        let owner =
                            group_state.owners.get(&(*generation, (topic.clone(), *partition)));
                        if owner.is_some_and(|owner| owner != member) {
                            let what = format!(
                                "group {group}: {member} committed {topic}-{partition} in generation \
                                 {generation}, whose owner is {owner:?}"
                            );
                            findings.add("C12", what);
                        }
                    }
                    Kind::Fail | Kind::Info => {}
                }
            }
            (Op::FetchCommitted { group, topic, partition, .. }, Kind::Invoke) => {
                let known = offsets.get(&(group.as_str(), topic.as_str(), *partition));
                let before = known.and_then(|state| state.acknowledged);
                asked.insert((&event.proc, group, topic, *partition), before);
            }
            (Op::FetchCommitted { group, topic, partition, offset }, Kind::Ok) => {
                let before =
                    asked.remove(&(event.proc.as_str(), group, topic, *partition)).flatten();
                let state =
                    offsets.entry((group.as_str(), topic.as_str(), *partition)).or_default();
                let known = state.tried.contains(offset);
                if *offset >= 0 && !known {
                    let what =
                        format!("group {group} {topic}-{partition}: {offset} was never committed");
                    findings.add("C11", what);
                }
                if *offset >= 0 {
                    // What was shown once may not be taken back, acknowledged or not.
                    state.acknowledged = state.acknowledged.max(Some(*offset));
                }
                if before.is_some_and(|before| *offset < before) {
                    let what = format!(
                        "group {group} {topic}-{partition}: {offset} after {before:?} was acknowledged or shown"
                    );
                    findings.add("C11", what);
                }
            }
            _ => {}
        }
    }
}

impl Group {
    fn assigned(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        partitions: &[Tp],
        findings: &mut Findings,
    ) {
        let known = self.generations.entry(member.to_owned()).or_insert(generation);
        if generation < *known {
            let what =
                format!("group {group}: {member} went from generation {known} to {generation}");
            findings.add("C10", what);
        }
        *known = generation.max(*known);
        self.newest = self.newest.max(generation);
        for tp in partitions {
            let owner = self.owners.entry((generation, tp.clone()));
            let owner = owner.or_insert_with(|| member.to_owned());
            if owner != member {
                let what = format!(
                    "group {group} generation {generation}: {tp:?} is {owner}'s and {member}'s"
                );
                findings.add("C9", what);
            }
        }
    }
}
