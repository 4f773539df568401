//! Placement: the goals, for many shapes of clusters and seeds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn broker(id: i32, rack: Option<&str>) -> UsableBroker {
    UsableBroker { id: NodeId(id), rack: rack.map(str::to_owned), fenced: false }
}

fn fenced(id: i32, rack: Option<&str>) -> UsableBroker {
    UsableBroker { fenced: true, ..broker(id, rack) }
}

#[test]
fn a_single_broker_gets_everything() {
    let placed = place([broker(7, None)], 3, 1, &mut Random::new(1)).unwrap();
    assert_eq!(placed, vec![vec![NodeId(7)]; 3]);
}

#[test]
fn impossible_placements_say_why() {
    let mut random = Random::new(1);
    let two = || [broker(0, None), fenced(1, None)];
    assert_eq!(place(two(), 1, 0, &mut random), Err(PlacementError::FactorNotPositive(0)));
    assert_eq!(place(two(), 1, -3, &mut random), Err(PlacementError::FactorNotPositive(-3)));
    assert_eq!(
        place(two(), 1, 3, &mut random),
        Err(PlacementError::TooFewBrokers { factor: 3, brokers: 2 })
    );
    assert_eq!(place([fenced(0, None)], 1, 1, &mut random), Err(PlacementError::AllFenced));
    assert_eq!(place([], 1, 1, &mut random), Err(PlacementError::AllFenced));
}

#[test]
fn a_fenced_broker_follows_only_when_it_must() {
    for seed in 0..50 {
        let brokers = [broker(0, None), broker(1, None), fenced(2, None)];
        let placed = place(brokers.clone(), 4, 2, &mut Random::new(seed)).unwrap();
        assert!(placed.iter().flatten().all(|node| node.0 != 2), "seed {seed}: {placed:?}");
        let placed = place(brokers, 4, 3, &mut Random::new(seed)).unwrap();
        assert!(placed.iter().all(|replicas| replicas[2].0 == 2), "seed {seed}: {placed:?}");
    }
}

proptest! {
    #[test]
    fn replicas_are_distinct_balanced_and_spread_over_racks(
        racks in prop::collection::vec(1usize..4, 1..5),
        factor in 1i16..5,
        partitions in 1usize..40,
        seed: u128,
    ) {
        let mut brokers = Vec::new();
        for (rack, size) in racks.iter().enumerate() {
            for _ in 0..*size {
                brokers.push(broker(brokers.len() as i32, Some(&format!("r{rack}"))));
            }
        }
        prop_assume!(factor as usize <= brokers.len());
        let placed = place(brokers.clone(), partitions, factor, &mut Random::new(seed)).unwrap();
        prop_assert_eq!(placed.len(), partitions);
        let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
        for replicas in &placed {
            let nodes: BTreeSet<_> = replicas.iter().collect();
            prop_assert_eq!(nodes.len(), factor as usize, "distinct: {:?}", replicas);
            let used: BTreeSet<_> =
                replicas.iter().map(|node| &brokers[node.0 as usize].rack).collect();
            prop_assert_eq!(used.len(), racks.len().min(factor as usize), "racks: {:?}", replicas);
            *leads.entry(replicas[0]).or_default() += 1;
        }
        // Racks of one size lead evenly: nobody leads twice before everybody led once.
        if racks.iter().all(|size| *size == racks[0]) {
            let rounds = partitions.div_ceil(brokers.len());
            let most = leads.values().copied().max().unwrap_or(0);
            prop_assert!(most <= rounds, "{:?}", leads);
            if partitions >= brokers.len() {
                prop_assert_eq!(leads.len(), brokers.len(), "{:?}", placed);
            }
        }
    }
}
