//! Random numbers and ids from a seed that is an argument.
//!
//! Owns: [`Random`], a small generator, and new topic ids. Never: a source of entropy; who decides
//! passes a fresh seed with every command. Invariant: the same seed gives the same numbers.

use ottla_protocol::model::{Uuid, kafka_uuid_text};

/// SplitMix64 twice: enough for placement and ids, and reproducible.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    stream: u64,
}

impl Random {
    #[must_use]
    pub const fn new(seed: u128) -> Self {
        // The stream is odd, so that each gives another permutation of all states.
        Self { state: seed as u64, stream: (seed >> 64) as u64 | 1 }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state ^ self.stream.rotate_left(17);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31) ^ self.stream
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias of a 64-bit multiply over a number of brokers can't be measured.
        let wide = u128::from(self.next_u64()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A random (version 4) id that is not reserved and whose text does not begin with a dash, as
    /// Kafka's `Uuid.randomUuid` (a command line would take it for an option).
    pub fn id(&mut self) -> Uuid {
        loop {
            let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
            let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
            if !is_reserved(id) && !kafka_uuid_text(id).starts_with('-') {
                return id;
            }
        }
    }
}

/// Kafka keeps the first hundred ids for itself (`Uuid.RESERVED`, `DirectoryId`).
#[must_use]
pub fn is_reserved(id: Uuid) -> bool {
    id.as_u128() < 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
        let ids = |seed: u128| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.id()).collect::<Vec<_>>()
        };
        assert_eq!(ids(7), ids(7));
        let mut all: Vec<Uuid> =
            [1, 2, 1 << 64, 3 << 64, u128::MAX].into_iter().flat_map(ids).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 500);
        assert!(all.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn ids_never_begin_with_a_dash() {
        let mut random = Random::new(1);
        // One in 64 would.
        assert!((0..5_000).all(|_| !kafka_uuid_text(random.id()).starts_with('-')));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(42);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
