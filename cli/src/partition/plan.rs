//! Which replicas go where, so that brokers hold and lead about the same.
//!
//! Owns: the plans of `partition rebalance` and `broker remove`. Never: asks a broker or carries out a plan.
//! Invariant: a plan keeps every partition's number of replicas, and no broker holds one twice.

use std::collections::BTreeMap;

use crate::client::metadata::{ClusterView, TopicView};
use crate::client::offsets::Partition;

/// One partition's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) partition: Partition,
    pub(crate) from: Vec<i32>,
    pub(crate) to: Vec<i32>,
}

/// Replicas by broker, of those that may hold any.
struct Load(BTreeMap<i32, usize>);

impl Load {
    fn of(view: &ClusterView, excluded: &[i32]) -> Self {
        let usable = view.brokers.iter().filter(|broker| !excluded.contains(&broker.id));
        let mut load: BTreeMap<i32, usize> = usable.map(|broker| (broker.id, 0)).collect();
        for replica in partitions(&view.topics).flat_map(|(_, replicas)| replicas) {
            if let Some(count) = load.get_mut(&replica) {
                *count += 1;
            }
        }
        Self(load)
    }

    /// The broker with the fewest replicas that has none of this partition.
    fn lightest(&self, without: &[i32]) -> Option<i32> {
        let free = self.0.iter().filter(|(id, _)| !without.contains(id));
        free.min_by_key(|(id, count)| (**count, **id)).map(|(id, _)| *id)
    }

    fn count(&self, id: i32) -> usize {
        self.0.get(&id).copied().unwrap_or_default()
    }

    fn moved(&mut self, from: i32, to: i32) {
        if let Some(count) = self.0.get_mut(&from) {
            *count -= 1;
        }
        *self.0.entry(to).or_default() += 1;
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

/// Takes every replica off `leaving`, and then evens out what brokers hold, with at most `moves_max`
/// partitions touched.
pub(crate) fn rebalance(view: &ClusterView, leaving: &[i32], moves_max: usize) -> Vec<Step> {
    let mut load = Load::of(view, leaving);
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
            let Some(heir) = load.lightest(&to) else { continue };
            load.moved(to[at], heir);
            to[at] = heir;
        }
        if to != replicas {
            steps.insert(partition.clone(), Step { partition, from: replicas, to });
        }
    }
    even_out(view, &mut load, &mut steps, moves_max);
    steps.into_values().collect()
}

/// Moves replicas from brokers that hold more to those that hold less, while the difference is more than one.
fn even_out(
    view: &ClusterView,
    load: &mut Load,
    steps: &mut BTreeMap<Partition, Step>,
    moves_max: usize,
) {
    for (partition, replicas) in partitions(&view.topics) {
        let known = steps.get(&partition).map(|step| step.to.clone());
        if known.is_none() && steps.len() >= moves_max {
            continue;
        }
        let mut to = known.unwrap_or_else(|| replicas.clone());
        let heaviest = to.iter().copied().max_by_key(|id| load.count(*id));
        let (Some(heaviest), Some(lightest)) = (heaviest, load.lightest(&to)) else { continue };
        if load.count(heaviest) <= load.count(lightest) + 1 {
            continue;
        }
        load.moved(heaviest, lightest);
        to.iter_mut().filter(|id| **id == heaviest).for_each(|id| *id = lightest);
        steps.insert(partition.clone(), Step { partition, from: replicas, to });
    }
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
    use crate::client::metadata::{BrokerView, PartitionView};

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
        let steps = rebalance(&view, &[], usize::MAX);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps.iter().all(|step| step.to.contains(&4)));
        assert_eq!(rebalance(&view, &[], 1).len(), 1);
    }

    #[test]
    fn what_is_even_stays() {
        let view = view(&[1, 2, 3], &[&[1, 2], &[2, 3], &[3, 1]]);
        assert_eq!(rebalance(&view, &[], usize::MAX), []);
    }

    #[test]
    fn a_broker_that_leaves_keeps_nothing() {
        let view = view(&[1, 2, 3], &[&[1, 2], &[2, 3], &[3, 1]]);
        let steps = rebalance(&view, &[3], usize::MAX);
        assert_eq!(targets(&steps), [(1, vec![2, 1]), (2, vec![2, 1])]);
        let full = self::view(&[1, 2], &[&[1, 2]]);
        assert_eq!(rebalance(&full, &[2], usize::MAX), [], "nobody can take it");
    }

    #[test]
    fn a_drained_broker_is_nobodys_first_choice() {
        let view = view(&[1, 2], &[&[1, 2], &[2, 1], &[1]]);
        assert_eq!(targets(&demote(&view, 1)), [(0, vec![2, 1])]);
    }
}
