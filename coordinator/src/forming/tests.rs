//! Forming: who may, who waits, who joins, what is refused; and random rounds never form twice.

use proptest::prelude::*;

use super::*;

fn address(node: i32) -> String {
    format!("host{node}:9093")
}

fn list(nodes: i32) -> Vec<String> {
    (1..=nodes).map(address).collect()
}

fn asker(node: i32, nodes: i32) -> Asker {
    Asker {
        node: NodeId(node),
        directory: Uuid::from_u128(100 + node as u128),
        incarnation: Uuid::from_u128(1_000 + node as u128),
        list: list(nodes),
    }
}

fn empty(node: i32, nodes: i32) -> Answer {
    let me = asker(node, nodes);
    Answer {
        node,
        directory: me.directory.as_u128(),
        incarnation: me.incarnation.as_u128(),
        list: me.list,
        formation: None,
        wall_ms: 0,
    }
}

fn round(nodes: i32) -> Round {
    (1..=nodes).map(|node| (address(node), Ok(empty(node, nodes)))).collect()
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Wait(reasons) => reasons.join("; "),
        Verdict::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_lowest_id_forms_when_all_are_empty_and_agree() {
    let Verdict::Form(voters) = decide(&asker(1, 3), &round(3)) else { panic!("it does not form") };
    let nodes: Vec<i32> = voters.iter().map(|voter| voter.node).collect();
    assert_eq!(nodes, [1, 2, 3]);
    assert_eq!((voters[2].directory, &*voters[2].address), (103, "host3:9093"));
    for other in [2, 3] {
        assert_eq!(reason(decide(&asker(other, 3), &round(3))), "node 1 forms the cluster");
    }
}

#[test]
fn nobody_forms_while_a_peer_is_silent_or_has_another_list() {
    let mut silent = round(3);
    silent.insert(address(3), Err("connection refused".to_owned()));
    assert_eq!(reason(decide(&asker(1, 3), &silent)), "host3:9093: connection refused");
    let mut other = round(3);
    other.insert(address(2), Ok(Answer { list: list(2), ..empty(2, 3) }));
    assert!(reason(decide(&asker(1, 3), &other)).contains("node 2 at host2:9093 has another list"));
    let mut missing = round(3);
    missing.remove(&address(2));
    assert!(matches!(decide(&asker(1, 3), &missing), Verdict::Wait(_)));
}

#[test]
fn a_cluster_that_is_there_is_joined() {
    let formation = Formation { cluster_id: "x".to_owned(), voters: Vec::new() };
    let mut found = round(3);
    let member = Answer { formation: Some(formation.clone()), ..empty(3, 3) };
    found.insert(address(3), Ok(member));
    found.insert(address(2), Err("down".to_owned()));
    assert_eq!(decide(&asker(1, 3), &found), Verdict::Join(formation));
    let second = Formation { cluster_id: "y".to_owned(), voters: Vec::new() };
    found.insert(address(2), Ok(Answer { formation: Some(second), ..empty(2, 3) }));
    assert!(reason(decide(&asker(1, 3), &found)).contains("host2:9093 is of cluster y and"));
}

#[test]
fn one_id_twice_is_refused() {
    let mut round = round(3);
    round.insert(address(2), Ok(Answer { incarnation: 7, ..empty(1, 3) }));
    assert!(reason(decide(&asker(1, 3), &round)).starts_with("node 1 is at host2:9093 already"));
    let mut twice = self::round(3);
    twice.insert(address(3), Ok(Answer { incarnation: 7, ..empty(2, 3) }));
    assert!(reason(decide(&asker(1, 3), &twice)).contains("node 2 stands in the list"));
}

proptest! {
    /// Nodes ask in any order, some in vain; whoever learns of a formation persists it, and empty disks
    /// come back with other directories. There is never a second formation while one is remembered.
    #[test]
    fn a_cluster_forms_once(
        steps in prop::collection::vec((1i32..=3, 0u8..8, any::<bool>()), 1..60)
    ) {
        let mut states: Vec<Answer> = (1..=3).map(|node| empty(node, 3)).collect();
        let mut formed = 0;
        for (turn, (node, silent, wiped)) in (0u128..).zip(steps) {
            let at = usize::try_from(node - 1).unwrap_or(0);
            if wiped && silent == 7 {
                states[at] = Answer { directory: 10_000 + turn, incarnation: 20_000 + turn, ..empty(node, 3) };
            }
            if states[at].formation.is_some() {
                continue;
            }
            let me = Asker {
                directory: Uuid::from_u128(states[at].directory),
                incarnation: Uuid::from_u128(states[at].incarnation),
                ..asker(node, 3)
            };
            let round: Round = (1..=3)
                .map(|peer| {
                    let state = &states[usize::try_from(peer - 1).unwrap_or(0)];
                    let hidden = peer != node && silent & (1 << (peer - 1)) != 0;
                    (address(peer), if hidden { Err("silent".to_owned()) } else { Ok(state.clone()) })
                })
                .collect();
            match decide(&me, &round) {
                Verdict::Form(voters) => {
                    prop_assert!(states.iter().all(|state| state.formation.is_none()));
                    prop_assert_eq!(node, 1);
                    formed += 1;
                    states[at].formation = Some(Formation { cluster_id: formed.to_string(), voters });
                }
                Verdict::Join(formation) => states[at].formation = Some(formation),
                Verdict::Wait(_) => {}
                Verdict::Refuse(reason) => prop_assert!(false, "{}", reason),
            }
            let ids: BTreeSet<String> = states
                .iter()
                .filter_map(|state| Some(state.formation.as_ref()?.cluster_id.clone()))
                .collect();
            prop_assert!(ids.len() <= 1, "two clusters: {:?}", ids);
        }
    }
}
