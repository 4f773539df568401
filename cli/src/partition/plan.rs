//! Which replicas go where, so that brokers hold and lead about the same.
//!
//! Owns: the plans of `partition rebalance` and `broker remove`. Never: asks a broker or carries out a plan.
//! Invariant: a plan keeps every partition's number of replicas, and no broker holds one twice.

use std::collections::BTreeMap;

use crate::client::metadata::{BrokerView, ClusterView, TopicView};
use crate::client::offsets::Partition;

/// One partition's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) partition: Partition,
    pub(crate) from: Vec<i32>,
    pub(crate) to: Vec<i32>,
}

/// Bytes of partitions, where they are known.
pub(crate) type Sizes = BTreeMap<Partition, i64>;

/// What a partition costs a broker however little is in it.
const PARTITION_COST: u64 = 1 << 20;

fn cost(sizes: &Sizes, partition: &Partition) -> u64 {
    let bytes = sizes.get(partition).copied().unwrap_or_default();
    PARTITION_COST + u64::try_from(bytes).unwrap_or_default()
}

/// What brokers carry, of those that may hold replicas, and their racks.
struct Load {
    carried: BTreeMap<i32, u64>,
    racks: BTreeMap<i32, String>,
}

impl Load {
    fn of(view: &ClusterView, sizes: &Sizes, excluded: &[i32]) -> Self {
        let usable = view.brokers.iter().filter(|broker| !excluded.contains(&broker.id));
        let mut carried: BTreeMap<i32, u64> = usable.map(|broker| (broker.id, 0)).collect();
        for (partition, replicas) in partitions(&view.topics) {
            for replica in replicas {
                if let Some(load) = carried.get_mut(&replica) {
                    *load += cost(sizes, &partition);
                }
            }
        }
        let rack = |of: &BrokerView| Some((of.id, of.rack.clone()?));
        Self { carried, racks: view.brokers.iter().filter_map(rack).collect() }
    }

    /// Whether `id` shares its rack with one of `others`.
    fn shares_rack(&self, id: i32, others: &[i32]) -> bool {
        let rack = self.racks.get(&id);
        rack.is_some() && others.iter().any(|of| *of != id && self.racks.get(of) == rack)
    }

    /// The broker to take the place of `leaves` among `replicas`: in a rack without one of the others if
    /// there is such a broker, and the one that carries least of those.
    fn heir(&self, leaves: i32, replicas: &[i32]) -> Option<i32> {
        let others: Vec<i32> = replicas.iter().copied().filter(|id| *id != leaves).collect();
        let free = self.carried.iter().filter(|(id, _)| !replicas.contains(id));
        free.min_by_key(|(id, load)| (self.shares_rack(**id, &others), **load, **id))
            .map(|(id, _)| *id)
    }

    fn carries(&self, id: i32) -> u64 {
        self.carried.get(&id).copied().unwrap_or_default()
    }

    fn moved(&mut self, from: i32, to: i32, cost: u64) {
        if let Some(load) = self.carried.get_mut(&from) {
            *load = load.saturating_sub(cost);
        }
        *self.carried.entry(to).or_default() += cost;
    }
}

fn partitions(topics: &[TopicView]) -> impl Iterator<Item = (Partition, Vec<i32>)> {
    topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|partition| ((topic.name.clone(), partition.index), partition.replicas.clone()))
    })
}

/// Takes every replica off `leaving`, and then evens out what brokers carry, with at most `moves_max`
/// partitions touched. No plan puts more replicas of a partition into one rack than there were.
pub(crate) fn rebalance(
    view: &ClusterView,
    sizes: &Sizes,
    leaving: &[i32],
    moves_max: usize,
) -> Vec<Step> {
    let mut load = Load::of(view, sizes, leaving);
    let mut steps: BTreeMap<Partition, Step> = BTreeMap::new();
    for (partition, replicas) in partitions(&view.topics) {
        if steps.len() >= moves_max {
            break;
        }
        let mut to = replicas.clone();
        for at in 0..to.len() {
            if !leaving.contains(&to[at]) {
                continue;
            }
            let Some(heir) = load.heir(to[at], &to) else { continue };
            load.moved(to[at], heir, cost(sizes, &partition));
            to[at] = heir;
        }
        if to != replicas {
            steps.insert(partition.clone(), Step { partition, from: replicas, to });
        }
    }
    even_out(view, sizes, &mut load, (&mut steps, moves_max));
    steps.into_values().collect()
}

/// Moves replicas from brokers that carry more to those that carry less, the largest first, while that
/// makes the heavier of the two lighter.
fn even_out(
    view: &ClusterView,
    sizes: &Sizes,
    load: &mut Load,
    (steps, moves_max): (&mut BTreeMap<Partition, Step>, usize),
) {
    let mut all: Vec<(Partition, Vec<i32>)> = partitions(&view.topics).collect();
    all.sort_by_key(|(partition, _)| std::cmp::Reverse(cost(sizes, partition)));
    for (partition, replicas) in all {
        let known = steps.get(&partition).map(|step| step.to.clone());
        if known.is_none() && steps.len() >= moves_max {
            continue;
        }
        let mut to = known.unwrap_or_else(|| replicas.clone());
        let Some(heaviest) = to.iter().copied().max_by_key(|id| load.carries(*id)) else {
            continue;
        };
        let Some(heir) = load.heir(heaviest, &to) else { continue };
        let cost = cost(sizes, &partition);
        let crowds = load.shares_rack(heir, &to) && !load.shares_rack(heaviest, &to);
        let crowds = crowds && load.racks.get(&heir) != load.racks.get(&heaviest);
        if crowds || load.carries(heir) + cost >= load.carries(heaviest) {
            continue;
        }
        load.moved(heaviest, heir, cost);
        to.iter_mut().filter(|id| **id == heaviest).for_each(|id| *id = heir);
        steps.insert(partition.clone(), Step { partition, from: replicas, to });
    }
}

/// Bytes that a step copies to brokers that have none of it.
pub(crate) fn copied(step: &Step, sizes: &Sizes) -> i64 {
    let new = step.to.iter().filter(|id| !step.from.contains(id)).count();
    let bytes = sizes.get(&step.partition).copied().unwrap_or_default();
    bytes.saturating_mul(i64::try_from(new).unwrap_or(i64::MAX))
}

/// What each broker holds before and after a plan.
pub(crate) fn held(view: &ClusterView, sizes: &Sizes, steps: &[Step]) -> BTreeMap<i32, (i64, i64)> {
    let mut held: BTreeMap<i32, (i64, i64)> =
        view.brokers.iter().map(|broker| (broker.id, (0, 0))).collect();
    for (partition, replicas) in partitions(&view.topics) {
        let bytes = sizes.get(&partition).copied().unwrap_or_default();
        let step = steps.iter().find(|step| step.partition == partition);
        for id in &replicas {
            held.entry(*id).or_default().0 += bytes;
        }
        for id in step.map_or(&replicas, |step| &step.to) {
            held.entry(*id).or_default().1 += bytes;
        }
    }
    held
}

/// Puts `broker` last among the replicas of what it should lead, so that another one is preferred.
pub(crate) fn demote(view: &ClusterView, broker: i32) -> Vec<Step> {
    let first = |replicas: &Vec<i32>| replicas.first() == Some(&broker) && replicas.len() > 1;
    let led = partitions(&view.topics).filter(|(_, replicas)| first(replicas));
    led.map(|(partition, from)| {
        let mut to = from.clone();
        to.rotate_left(1);
        Step { partition, from, to }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::metadata::PartitionView;

    fn view(brokers: &[i32], replicas: &[&[i32]]) -> ClusterView {
        let partitions = (0..).zip(replicas).map(|(index, replicas)| PartitionView {
            index,
            leader: replicas[0],
            replicas: replicas.to_vec(),
            in_sync: replicas.to_vec(),
            ..PartitionView::default()
        });
        let partitions = partitions.collect();
        let topic = TopicView { name: "t".to_owned(), partitions, ..TopicView::default() };
        let broker = |id: &i32| BrokerView { id: *id, host: String::new(), port: 0, rack: None };
        ClusterView {
            brokers: brokers.iter().map(broker).collect(),
            topics: vec![topic],
            ..ClusterView::default()
        }
    }

    fn targets(steps: &[Step]) -> Vec<(i32, Vec<i32>)> {
        steps.iter().map(|step| (step.partition.1, step.to.clone())).collect()
    }

    #[test]
    fn a_new_broker_gets_its_share() {
        let view = view(&[1, 2, 3, 4], &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2], &[1, 3, 2]]);
        let steps = rebalance(&view, &Sizes::new(), &[], usize::MAX);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps.iter().all(|step| step.to.contains(&4)));
        assert_eq!(rebalance(&view, &Sizes::new(), &[], 1).len(), 1);
    }

    #[test]
    fn bytes_count_more_than_replicas() {
        let mut view = view(&[1, 2], &[&[1], &[1], &[2], &[2]]);
        let sizes: Sizes = [(0, 900 << 20), (1, 500 << 20), (2, 1 << 20), (3, 1 << 20)]
            .map(|(index, bytes)| (("t".to_owned(), index), bytes))
            .into();
        let steps = rebalance(&view, &sizes, &[], usize::MAX);
        assert_eq!(targets(&steps)[0], (0, vec![2]), "the largest, {steps:?}");
        assert_eq!(copied(&steps[0], &sizes), 900 << 20);
        let held = held(&view, &sizes, &steps);
        assert_eq!(held[&1].0, 1400 << 20);
        assert!(held[&1].1.abs_diff(held[&2].1) < 500 << 20, "{held:?}");
        view.topics.clear();
        assert_eq!(rebalance(&view, &sizes, &[], usize::MAX), []);
    }

    #[test]
    fn a_rack_gets_no_second_replica_while_another_has_none() {
        let mut view = view(&[1, 2, 3, 4], &[&[1, 3], &[1, 3], &[1, 3]]);
        for (broker, rack) in view.brokers.iter_mut().zip(["a", "a", "b", "b"]) {
            broker.rack = Some(rack.to_owned());
        }
        let steps = rebalance(&view, &Sizes::new(), &[], usize::MAX);
        assert!(!steps.is_empty());
        for step in &steps {
            let of_a = step.to.iter().filter(|id| **id <= 2).count();
            assert_eq!(of_a, 1, "{steps:?}");
        }
        let steps = rebalance(&view, &Sizes::new(), &[3], usize::MAX);
        assert!(steps.iter().all(|step| step.to.contains(&4)), "the same rack: {steps:?}");
    }

    #[test]
    fn what_is_even_stays() {
        let view = view(&[1, 2, 3], &[&[1, 2], &[2, 3], &[3, 1]]);
        assert_eq!(rebalance(&view, &Sizes::new(), &[], usize::MAX), []);
    }

    #[test]
    fn a_broker_that_leaves_keeps_nothing() {
        let view = view(&[1, 2, 3], &[&[1, 2], &[2, 3], &[3, 1]]);
        let steps = rebalance(&view, &Sizes::new(), &[3], usize::MAX);
        assert_eq!(targets(&steps), [(1, vec![2, 1]), (2, vec![2, 1])]);
        let full = self::view(&[1, 2], &[&[1, 2]]);
        assert_eq!(rebalance(&full, &Sizes::new(), &[2], usize::MAX), [], "nobody can take it");
    }

    #[test]
    fn a_drained_broker_is_nobodys_first_choice() {
        let view = view(&[1, 2], &[&[1, 2], &[2, 1], &[1]]);
        assert_eq!(targets(&demote(&view, 1)), [(0, vec![2, 1])]);
    }
}
