//! One group of the classic protocol: its state, and what is true of it in every state.
//!
//! Owns: the fields, the state graph, protocol selection, the invariants. Never: decides what a
//! request does; that is in `join`, `sync`, `session` and `rebalance`.
//!
//! ```text
//!            first member joins               all joined, or time is up
//!   Empty -----------------------> Preparing ---------------------------> Completing
//!     ^                              ^   |                                    |
//!     |  everyone left               |   |                                    | leader's SyncGroup
//!     +------------------------------+---+                                    v
//!                                    +---- member joins, leaves, fails --- Stable
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::{Now, Timestamp};

use super::effects::{Effects, ReplyToken};
use super::partition::java_hash;
use super::record::{GroupValue, MemberValue};
use super::reply::GroupError;
use super::request::Protocol;
use super::settings::GroupSettings;
use super::subscription::subscribed_topics;
use super::timers::Timers;

/// The protocol type of consumers, whose metadata the coordinator understands.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Kafka's `ClassicGroupState`; `Dead` is a group that is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What every handler of a group needs beside the group.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) settings: &'a GroupSettings,
    pub(crate) timers: &'a mut Timers,
    pub(crate) effects: &'a mut Effects,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    pub(crate) awaiting_join: Option<ReplyToken>,
    pub(crate) awaiting_sync: Option<ReplyToken>,
    /// Has not been part of a generation yet: waiting does not count as a heartbeat.
    pub(crate) is_new: bool,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|p| *p.name == *protocol).map(|p| &p.metadata)
    }

    /// Whether silence is fine because the member waits for us (`hasSatisfiedHeartbeat`).
    pub(crate) fn waits_for_us(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// Which deadline the join phase has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JoinPhase {
    /// Not in a join phase.
    None,
    /// The group was empty: wait for more members, `delay_ms` at a time, `remaining_ms` at most.
    Initial { delay_ms: u64, remaining_ms: u64 },
    /// The members have until the longest rebalance timeout.
    Rebalance,
}

#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: Arc<str>,
    pub(crate) state: GroupState,
    pub(crate) join_phase: JoinPhase,
    /// `None` for groups that only hold offsets, and in records of older brokers.
    pub(crate) state_since: Option<Timestamp>,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol_name: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    pub(crate) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids that were handed out and have not come back yet.
    pub(crate) pending_join: BTreeSet<Arc<str>>,
    pub(crate) pending_sync: BTreeSet<Arc<str>>,
    /// How many members support a protocol.
    pub(crate) supporters: BTreeMap<Arc<str>, usize>,
    pub(crate) awaiting_join: usize,
    /// Known for consumers whose metadata could be parsed.
    pub(crate) subscribed: Option<BTreeSet<Arc<str>>>,
    pub(crate) new_member_added: bool,
}

impl ClassicGroup {
    pub(crate) fn new(id: Arc<str>, state_since: Option<Timestamp>) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            join_phase: JoinPhase::None,
            state_since,
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            supporters: BTreeMap::new(),
            awaiting_join: 0,
            subscribed: None,
            new_member_added: false,
        }
    }

    /// The group that a record describes: stable if it has members.
    pub(crate) fn from_value(id: Arc<str>, value: GroupValue) -> Self {
        let mut group = Self::new(id, value.state_since);
        group.generation = value.generation;
        group.protocol_type = (!value.protocol_type.is_empty()).then_some(value.protocol_type);
        group.protocol_name = value.protocol;
        group.leader = value.leader;
        if !value.members.is_empty() {
            group.state = GroupState::Stable;
        }
        for member in value.members {
            let protocol = group.protocol_name.clone().unwrap_or_else(|| "".into());
            group.insert(Member {
                id: member.id,
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: match member.rebalance_timeout_ms {
                    -1 => member.session_timeout_ms,
                    given => given,
                },
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![Protocol { name: protocol, metadata: member.subscription }],
                assignment: member.assignment,
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
            });
        }
        if !group.leader.as_ref().is_some_and(|leader| group.members.contains_key(leader)) {
            group.leader = group.members.keys().next().cloned();
        }
        group.subscribed = group.compute_subscribed();
        group
    }

    pub(crate) fn to_value(&self) -> GroupValue {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: self
                .members
                .values()
                .map(|member| MemberValue {
                    id: Arc::clone(&member.id),
                    instance_id: member.instance_id.clone(),
                    client_id: Arc::clone(&member.client_id),
                    client_host: Arc::clone(&member.client_host),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(protocol).cloned().unwrap_or_default(),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether offsets of the topic are in use. A consumer group whose subscription could not be
    /// read counts as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(crate) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0)
    }

    pub(crate) fn transition(&mut self, to: GroupState, now: Now) {
        let allowed = match to {
            GroupState::Empty | GroupState::CompletingRebalance => {
                self.state == GroupState::PreparingRebalance
            }
            GroupState::PreparingRebalance => self.state != GroupState::PreparingRebalance,
            GroupState::Stable => self.state == GroupState::CompletingRebalance,
        };
        debug_assert!(allowed, "group {} cannot go from {} to {to}", self.id, self.state);
        self.state = to;
        self.state_since = Some(now.wall);
    }

    /// Whether a member with these protocols could be part of the group.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|p| self.supporters.get(&p.name).copied().unwrap_or(0) == everyone)
    }

    /// The protocol with the most votes: each member votes for the first of its protocols that
    /// everyone supports. Ties go to the one Kafka would meet first in its hash map.
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let everyone = self.members.len();
        let mut votes: BTreeMap<(u32, &Arc<str>), usize> = BTreeMap::new();
        for member in self.members.values() {
            let choice = member
                .protocols
                .iter()
                .find(|p| self.supporters.get(&p.name).copied().unwrap_or(0) == everyone);
            if let Some(protocol) = choice {
                *votes.entry((small_map_bucket(&protocol.name), &protocol.name)).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.iter().find(|(_, count)| **count == most).map(|((_, name), _)| Arc::clone(name))
    }

    /// A generation begins: with its members, or empty.
    pub(crate) fn next_generation(&mut self, now: Now) {
        self.generation = self.generation.wrapping_add(1);
        self.join_phase = JoinPhase::None;
        self.protocol_name = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        let to = if self.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::CompletingRebalance
        };
        self.transition(to, now);
        self.pending_sync.clear();
    }

    /// Checks that a request comes from the member it names (`validateMember`).
    pub(crate) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&Arc<str>>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if **current != *member_id => {
                    return Err(GroupError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(member.metadata(protocol)?)?);
        }
        Some(topics)
    }

    /// Says which invariant does not hold.
    pub(crate) fn validate(&self, timers: &Timers) -> Result<(), String> {
        let fail = |what: &str| Err(format!("group {}: {what}", self.id));
        if self.leader.is_some() && self.members.is_empty() {
            return fail("an empty group has a leader");
        }
        if !self.members.is_empty() {
            match &self.leader {
                Some(leader) if self.members.contains_key(leader) => {}
                _ => return fail("the leader is not a member"),
            }
        }
        if self.state == GroupState::Empty && !self.members.is_empty() {
            return fail("state Empty with members");
        }
        self.validate_counts().or_else(|what| fail(&what))?;
        let in_generation =
            matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if in_generation {
            let Some(protocol) = &self.protocol_name else {
                return fail("a generation without a protocol");
            };
            if self.members.values().any(|member| member.metadata(protocol).is_none()) {
                return fail("a member does not support the selected protocol");
            }
            if self.awaiting_join > 0 {
                return fail("a member waits for a join that is over");
            }
        }
        if self.state != GroupState::CompletingRebalance
            && self.members.values().any(|member| member.awaiting_sync.is_some())
        {
            return fail("a member waits for an assignment that nobody owes");
        }
        self.validate_timers(timers).or_else(|what| fail(&what))
    }

    fn validate_counts(&self) -> Result<(), String> {
        let awaiting = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
        if awaiting != self.awaiting_join {
            return Err(format!("{awaiting} members await a join, counted {}", self.awaiting_join));
        }
        let mut supporters: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            for protocol in &member.protocols {
                *supporters.entry(Arc::clone(&protocol.name)).or_default() += 1;
            }
        }
        if supporters != self.supporters {
            return Err(format!("supporters are {supporters:?}, counted {:?}", self.supporters));
        }
        let statics: BTreeMap<Arc<str>, Arc<str>> = self
            .members
            .values()
            .filter_map(|m| m.instance_id.clone().map(|instance| (instance, Arc::clone(&m.id))))
            .collect();
        if statics != self.static_members {
            return Err("static members do not match the members".to_owned());
        }
        if self.pending_join.iter().any(|id| self.members.contains_key(id)) {
            return Err("a member is pending and joined".to_owned());
        }
        if self.pending_sync.iter().any(|id| !self.members.contains_key(id)) {
            return Err("a sync is expected from a member that is gone".to_owned());
        }
        Ok(())
    }

    fn validate_timers(&self, timers: &Timers) -> Result<(), String> {
        use super::timers::TimerKind;
        let preparing = self.state == GroupState::PreparingRebalance;
        if preparing != (self.join_phase != JoinPhase::None)
            || preparing != timers.is_set(&self.id, TimerKind::Join)
        {
            return Err("the join phase and its deadline disagree".to_owned());
        }
        if timers.is_set(&self.id, TimerKind::Sync) && self.pending_sync.is_empty() {
            return Err("a sync deadline with nobody to wait for".to_owned());
        }
        if !self.pending_sync.is_empty() && !timers.is_set(&self.id, TimerKind::Sync) {
            return Err("a sync is expected without a deadline".to_owned());
        }
        let unwatched = self
            .members
            .values()
            .filter(|m| !m.waits_for_us())
            .map(|m| &m.id)
            .chain(&self.pending_join)
            .find(|id| !timers.is_set(&self.id, TimerKind::Session(Arc::clone(id))));
        match unwatched {
            Some(id) => Err(format!("member {id} has no session deadline")),
            None => Ok(()),
        }
    }
}

/// The bucket of a string in a Java `HashMap` of the smallest size.
fn small_map_bucket(name: &str) -> u32 {
    let hash = java_hash(name).cast_unsigned();
    (hash ^ (hash >> 16)) & 15
}
