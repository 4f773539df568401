//! Many members that join, leave, fall silent, restart and commit, at random.
//!
//! Checked after every step, beside what [`Bench`] checks: a generation has one leader, one
//! protocol and one set of members; every partition that the leader hands out reaches the member
//! it was meant for; committed offsets are what was last acknowledged, across restarts; every
//! request is answered once.
//!
//! A failure prints its seed; `OTTLA_SEED=<seed> cargo test -p ottla-coordinator simulation` runs
//! that one again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::bench::*;
use crate::group::effects::ReplyToken;
use crate::group::reply::{GroupError, JoinReply, Reply, SyncReply};
use crate::group::request::{Input, JoinRequest, MemberIdRule, SkipAssignment, SyncRequest};

const PARTITIONS: u8 = 12;
const CLIENTS: usize = 8;

#[test]
fn random_lives_of_groups() {
    let given = std::env::var("OTTLA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = match given {
        Some(seed) => vec![seed],
        None => (0..24).collect(),
    };
    for seed in seeds {
        let guard = PrintSeed(seed);
        World::new(seed).run(400);
        std::mem::forget(guard);
    }
}

struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        eprintln!("failed with OTTLA_SEED={}", self.0);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Debug)]
enum Life {
    /// Knows its member id if it has one.
    Out(Arc<str>),
    Joining(ReplyToken),
    Syncing {
        token: ReplyToken,
        member: Arc<str>,
        generation: i32,
    },
    Member {
        member: Arc<str>,
        generation: i32,
    },
}

struct World {
    random: Random,
    bench: Bench,
    clients: Vec<Life>,
    /// Counts reloads: a generation that was not stored may come again after one.
    incarnation: u32,
    generations: BTreeMap<(u32, i32), Generation>,
    acknowledged: BTreeMap<i32, i64>,
    next_offset: i64,
}

#[derive(Debug, Default)]
struct Generation {
    leader: Arc<str>,
    protocol: Option<Arc<str>>,
    /// As the leader was told.
    members: Option<BTreeSet<Arc<str>>>,
    joined: BTreeSet<Arc<str>>,
    assigned: Option<BTreeMap<Arc<str>, Bytes>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            bench: Bench::new(),
            clients: vec![Life::Out("".into()); CLIENTS],
            incarnation: 0,
            generations: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            next_offset: 0,
        }
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.act();
            self.observe();
        }
        // Everyone who still waits gets an answer once time passes: to the join, then to the sync.
        for _ in 0..3 {
            self.bench.pass_ms(1_000_000);
            self.observe();
        }
        for life in &self.clients {
            match life {
                Life::Joining(token) | Life::Syncing { token, .. } => {
                    panic!("{token:?} was never answered");
                }
                Life::Out(_) | Life::Member { .. } => {}
            }
        }
        assert!(self.generations.len() > 3, "the groups of this seed did nothing");
    }

    fn act(&mut self) {
        let client = usize::try_from(self.random.below(CLIENTS as u64)).unwrap();
        match self.random.below(100) {
            0 => self.restart(),
            1..=30 => {
                let most = [10, 100, 3_000, 12_000, 61_000][self.random.below(5) as usize];
                let span = self.random.below(most);
                self.bench.pass_ms(span);
            }
            31 => {
                let token = self.bench.token();
                self.bench.step(Input::DeleteGroups(token, vec![GROUP.into()]));
                if let Reply::DeleteGroups(results) = &self.bench.replies[&token]
                    && results[0].error.is_none()
                {
                    self.acknowledged.clear();
                    self.incarnation += 1;
                }
            }
            32 => self.clients[client] = Life::Out("".into()),
            _ => self.live(client),
        }
    }

    fn live(&mut self, client: usize) {
        match self.clients[client].clone() {
            Life::Out(member) => self.join(client, &member),
            Life::Joining(_) | Life::Syncing { .. } => {}
            Life::Member { member, generation } => match self.random.below(10) {
                0 => {
                    let results = self.bench.leave(&[(&member, None)]);
                    assert!(matches!(results[0], None | Some(GroupError::UnknownMemberId)));
                    self.clients[client] = Life::Out("".into());
                }
                1 => self.join(client, &member),
                2..=5 => self.commit(client, &member, generation),
                _ => self.beat(client, member, generation),
            },
        }
    }

    /// Clients 0 and 1 are static; the others differ in age and in the protocols they prefer.
    fn join(&mut self, client: usize, member: &Arc<str>) {
        let names: &[&str] = match client % 3 {
            0 => &["range", "sticky"],
            1 => &["sticky", "range"],
            _ => &["range"],
        };
        let token = self.bench.join(JoinRequest {
            member_id: Arc::clone(member),
            instance_id: (client < 2).then(|| format!("static-{client}").into()),
            protocols: names.iter().map(|name| protocol(name)).collect(),
            member_id_rule: match client % 2 {
                0 => MemberIdRule::Required,
                _ => MemberIdRule::Assigned,
            },
            skip_assignment: match client {
                0 => SkipAssignment::Supported,
                _ => SkipAssignment::Unsupported,
            },
            rebalance_timeout_ms: 20_000,
            ..old_join(&format!("client-{client}"))
        });
        self.clients[client] = Life::Joining(token);
    }

    fn commit(&mut self, client: usize, member: &Arc<str>, generation: i32) {
        self.next_offset += 1;
        let partition = i32::try_from(self.random.below(3)).unwrap();
        let mut request = member_commit(member, generation, "t", self.next_offset);
        request.topics[0].partitions[0].partition = partition;
        match self.bench.commit(request) {
            Ok(()) => {
                self.acknowledged.insert(partition, self.next_offset);
            }
            Err(GroupError::RebalanceInProgress) => {}
            Err(error) => self.expelled(client, member, error),
        }
    }

    fn beat(&mut self, client: usize, member: Arc<str>, generation: i32) {
        match self.bench.heartbeat(&member, generation) {
            Ok(()) => {}
            Err(GroupError::RebalanceInProgress) => self.join(client, &member),
            Err(error) => self.expelled(client, &member, error),
        }
    }

    fn expelled(&mut self, client: usize, member: &Arc<str>, error: GroupError) {
        self.clients[client] = match error {
            GroupError::IllegalGeneration => Life::Out(Arc::clone(member)),
            GroupError::UnknownMemberId
            | GroupError::FencedInstanceId
            | GroupError::GroupIdNotFound => Life::Out("".into()),
            other => panic!("client {client} was told {other:?}"),
        };
    }

    fn restart(&mut self) {
        self.bench.restart();
        self.incarnation += 1;
        for (partition, offset) in &self.acknowledged.clone() {
            assert_eq!(self.bench.fetch("t", *partition), *offset, "after a restart");
        }
    }

    /// Takes the replies that came, and lets clients go on.
    fn observe(&mut self) {
        for client in 0..self.clients.len() {
            match self.clients[client].clone() {
                Life::Joining(token) if !self.bench.waits(token) => {
                    let reply = self.bench.joined(token).clone();
                    self.on_joined(client, &reply);
                }
                Life::Syncing { token, member, generation } if !self.bench.waits(token) => {
                    let reply = self.bench.synced(token).clone();
                    self.on_synced(client, &member, generation, &reply);
                }
                _ => {}
            }
        }
        for (partition, offset) in &self.acknowledged.clone() {
            assert_eq!(self.bench.fetch("t", *partition), *offset);
        }
    }

    fn on_joined(&mut self, client: usize, reply: &JoinReply) {
        if let Some(error) = reply.error {
            self.clients[client] = match error {
                GroupError::MemberIdRequired => Life::Out(Arc::clone(&reply.member_id)),
                GroupError::UnknownMemberId | GroupError::FencedInstanceId => Life::Out("".into()),
                // After a reload only the selected protocol of the absent is known.
                GroupError::NotCoordinator
                | GroupError::RebalanceInProgress
                | GroupError::InconsistentGroupProtocol => Life::Out(Arc::clone(&reply.member_id)),
                other => panic!("a join was told {other:?}"),
            };
            return;
        }
        let member = &reply.member_id;
        let generation = self.generations.entry((self.incarnation, reply.generation)).or_default();
        if generation.joined.is_empty() {
            generation.leader = Arc::clone(&reply.leader);
            generation.protocol.clone_from(&reply.protocol_name);
        }
        assert_eq!(generation.protocol, reply.protocol_name, "one protocol in a generation");
        if client > 1 {
            // A static member's successor has another id than the one it follows.
            let of_static = generation.leader.starts_with("static-");
            assert!(of_static || generation.leader == reply.leader, "one leader in a generation");
        }
        generation.joined.insert(Arc::clone(member));
        let leads = reply.leader == *member;
        assert_eq!(leads, !reply.members.is_empty(), "the leader, and no one else, is told all");
        if leads && client > 1 {
            let told: BTreeSet<Arc<str>> =
                reply.members.iter().map(|m| Arc::clone(&m.member_id)).collect();
            let before = generation.members.get_or_insert_with(|| told.clone());
            let dynamic = |ids: &BTreeSet<Arc<str>>| {
                ids.iter().filter(|id| !id.starts_with("static-")).count()
            };
            assert_eq!(dynamic(before), dynamic(&told), "one set of members in a generation");
        }
        self.send_sync(client, reply);
    }

    /// The leader deals the partitions out in turn.
    fn send_sync(&mut self, client: usize, reply: &JoinReply) {
        let mut dealt: BTreeMap<Arc<str>, Vec<u8>> = BTreeMap::new();
        if !reply.skip_assignment && !reply.members.is_empty() {
            for partition in 0..PARTITIONS {
                let turn = usize::from(partition) % reply.members.len();
                let member = Arc::clone(&reply.members[turn].member_id);
                dealt.entry(member).or_default().push(partition);
            }
            let assigned =
                dealt.iter().map(|(id, p)| (Arc::clone(id), Bytes::from(p.clone()))).collect();
            let key = (self.incarnation, reply.generation);
            self.generations.entry(key).or_default().assigned = Some(assigned);
        }
        let token = self.bench.token();
        let assignments = dealt.into_iter().map(|(id, p)| (id, Bytes::from(p))).collect();
        self.bench.step(Input::Sync(
            token,
            SyncRequest {
                group_id: GROUP.into(),
                member_id: Arc::clone(&reply.member_id),
                instance_id: (client < 2).then(|| format!("static-{client}").into()),
                generation: reply.generation,
                protocol_type: reply.protocol_type.clone(),
                protocol_name: reply.protocol_name.clone(),
                assignments,
            },
        ));
        let (member, generation) = (Arc::clone(&reply.member_id), reply.generation);
        self.clients[client] = Life::Syncing { token, member, generation };
    }

    fn on_synced(&mut self, client: usize, member: &Arc<str>, generation: i32, reply: &SyncReply) {
        self.clients[client] = match reply.error {
            None => {
                let known = self.generations.get(&(self.incarnation, generation));
                let assigned = known.and_then(|generation| generation.assigned.as_ref());
                if let Some(expected) = assigned.and_then(|assigned| assigned.get(member)) {
                    assert_eq!(reply.assignment, *expected, "what the leader gave {member}");
                }
                Life::Member { member: Arc::clone(member), generation }
            }
            Some(GroupError::UnknownMemberId | GroupError::FencedInstanceId) => {
                Life::Out("".into())
            }
            Some(
                GroupError::RebalanceInProgress
                | GroupError::IllegalGeneration
                | GroupError::NotCoordinator,
            ) => Life::Out(Arc::clone(member)),
            Some(other) => panic!("a sync was told {other:?}"),
        };
    }
}
