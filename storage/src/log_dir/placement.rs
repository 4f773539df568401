//! Which log directory takes a new partition.
//!
//! Owns: the rule. Never: asks a disk.

/// An online log directory as the rule sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Free bytes on its disk.
    pub available: u64,
    /// Partitions that it holds or was given.
    pub partitions: usize,
}

/// The index of the directory that offers a new partition the most room: its free bytes, shared
/// with the partitions that are there already. So an empty disk fills first, equal disks take
/// turns, and a burst of new topics, which changes no disk's free space yet, is spread.
/// Apache Kafka counts partitions only. `None` without candidates.
#[must_use]
pub fn place(candidates: &[Candidate]) -> Option<usize> {
    let share = |candidate: &Candidate| candidate.available / (candidate.partitions as u64 + 1);
    let best = candidates.iter().map(share).max()?;
    candidates.iter().position(|candidate| share(candidate) == best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spread_in_proportion_to_room() {
        let mut dirs = [
            Candidate { available: 100 << 30, partitions: 0 },
            Candidate { available: 300 << 30, partitions: 0 },
        ];
        for _ in 0..400 {
            let chosen = place(&dirs).unwrap();
            dirs[chosen].partitions += 1;
        }
        assert_eq!([dirs[0].partitions, dirs[1].partitions], [100, 300]);
        assert_eq!(place(&[]), None);
        let full = Candidate { available: 0, partitions: 0 };
        assert_eq!(place(&[full, full]), Some(0));
    }
}
