//! Which brokers get the replicas of new partitions.
//!
//! Owns: [`place`], with the goals of Kafka's `StripedReplicaPlacer`: leaders spread evenly over
//! brokers and racks, replicas of one partition over racks, fenced brokers last and never first.
//! Never: knows the image, or keeps state between topics; the randomness is an argument, so that
//! two topics do not pile up on the same brokers.
//!
//! ```text
//!   racks   a: 0 1   b: 2 3   c: 4          each list starts at a random place; a partition
//!   p0      0 2 4    p1  3 4 1   p2 ...     takes one broker of each rack in turn, and the next
//!                                           partition starts one rack further
//! ```

use std::collections::BTreeMap;

use ottla_protocol::model::NodeId;

use super::random::Random;

/// A broker that replicas can be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableBroker {
    pub id: NodeId,
    pub rack: Option<String>,
    pub fenced: bool,
}

/// Why no placement is possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    FactorNotPositive(i16),
    #[error("All brokers are currently fenced.")]
    AllFenced,
    #[error(
        "The target replication factor of {factor} cannot be reached because only {brokers} broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers { factor: i16, brokers: usize },
}

/// Places `partitions` new partitions with `factor` replicas each. The first of each list is the
/// preferred leader and never fenced.
///
/// # Errors
/// When the brokers can't hold that many replicas.
pub fn place(
    brokers: impl IntoIterator<Item = UsableBroker>,
    partitions: usize,
    factor: i16,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let mut racks = Racks::new(brokers, random);
    let replicas = match usize::try_from(factor) {
        Ok(replicas) if replicas > 0 => replicas,
        _ => return Err(PlacementError::FactorNotPositive(factor)),
    };
    if racks.unfenced == 0 {
        return Err(PlacementError::AllFenced);
    }
    if replicas > racks.brokers {
        return Err(PlacementError::TooFewBrokers { factor, brokers: racks.brokers });
    }
    Ok((0..partitions).map(|_| racks.next(replicas, random)).collect())
}

/// Brokers of one kind in one rack, walked around from a start that moves with every partition.
/// Leaders have a start of their own: with as many racks as brokers in each, a common one would
/// come back to the same leaders for ever.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<NodeId>,
    start: usize,
    taken: usize,
    next_leader: usize,
    leader: Option<usize>,
}

impl Ring {
    fn take_leader(&mut self) -> Option<NodeId> {
        let at = self.next_leader.checked_rem(self.brokers.len())?;
        self.next_leader = at + 1;
        self.leader = Some(at);
        Some(self.brokers[at])
    }

    fn take(&mut self) -> Option<NodeId> {
        while self.taken < self.brokers.len() {
            let at = (self.start + self.taken) % self.brokers.len();
            self.taken += 1;
            if self.leader != Some(at) {
                return Some(self.brokers[at]);
            }
        }
        None
    }

    fn turn(&mut self) {
        self.start = (self.start + 1).checked_rem(self.brokers.len()).unwrap_or(0);
        self.taken = 0;
        self.leader = None;
    }
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn rings(&mut self) -> [&mut Ring; 2] {
        [&mut self.unfenced, &mut self.fenced]
    }
}

#[derive(Debug)]
struct Racks {
    racks: Vec<Rack>,
    first: usize,
    brokers: usize,
    unfenced: usize,
    placed: usize,
}

impl Racks {
    fn new(brokers: impl IntoIterator<Item = UsableBroker>, random: &mut Random) -> Self {
        let mut by_name: BTreeMap<Option<String>, Rack> = BTreeMap::new();
        let (mut all, mut unfenced) = (0, 0);
        for broker in brokers {
            let rack = by_name.entry(broker.rack).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
            all += 1;
            unfenced += usize::from(!broker.fenced);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for ring in racks.iter_mut().flat_map(Rack::rings) {
            ring.brokers.sort_unstable();
            ring.start = random.below(ring.brokers.len());
            ring.next_leader = ring.start;
        }
        let first = random.below(racks.len());
        Self { racks, first, brokers: all, unfenced, placed: 0 }
    }

    /// The replicas of the next partition. There is an unfenced broker, and there are at least
    /// `replicas` brokers: the loops end.
    fn next(&mut self, replicas: usize, random: &mut Random) -> Vec<NodeId> {
        if self.placed == self.unfenced && self.unfenced > 1 {
            // Every unfenced broker led once: go on in another order, not in the same circle.
            random.shuffle(&mut self.racks);
            for ring in self.racks.iter_mut().flat_map(Rack::rings) {
                random.shuffle(&mut ring.brokers);
            }
            self.placed = 0;
        }
        self.first %= self.racks.len();
        let count = self.racks.len();
        let mut chosen = Vec::with_capacity(replicas);
        let mut leader_rack = self.first;
        for step in 0..count {
            leader_rack = (self.first + step) % count;
            if let Some(leader) = self.racks[leader_rack].unfenced.take_leader() {
                chosen.push(leader);
                break;
            }
        }
        // Followers start at the first rack; the leader's is left out in the first round only.
        let mut rack = self.first;
        let mut skip = Some(leader_rack);
        while chosen.len() < replicas {
            if skip == Some(rack) {
                skip = None;
            } else {
                let [unfenced, fenced] = self.racks[rack].rings();
                chosen.extend(unfenced.take().or_else(|| fenced.take()));
            }
            rack = (rack + 1) % count;
        }
        for ring in self.racks.iter_mut().flat_map(Rack::rings) {
            ring.turn();
        }
        self.first += 1;
        self.placed += 1;
        chosen
    }
}

#[cfg(test)]
mod tests;
