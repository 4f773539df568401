//! Which partition of `__consumer_offsets` owns a group.
//!
//! Owns: Java's string hash and its reduction. Never: knows how many partitions there are.

use std::num::NonZeroU32;

use ottla_protocol::model::PartitionId;

/// The partition of a group among `partitions` (`GroupCoordinatorService.partitionFor`).
#[must_use]
pub fn partition_for(group_id: &str, partitions: NonZeroU32) -> PartitionId {
    let positive = java_hash(group_id).checked_abs().unwrap_or(0).unsigned_abs();
    let index = positive % partitions;
    PartitionId(i32::try_from(index).unwrap_or(0))
}

/// `String.hashCode`: over UTF-16 units, wrapping.
pub(crate) fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_javas() {
        // Values of String.hashCode.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("hello", 99_162_322),
            ("polygenelubricants", i32::MIN),
            ("\u{1f600}", 1_772_899),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn partitions_of_the_samples() {
        // The oracle's `__consumer_offsets-7` holds these groups, of 8 partitions; Utils.abs makes
        // 0 of the smallest integer.
        let eight = NonZeroU32::new(8).unwrap();
        for group in ["sample-classic", "sample-consumer", "sample-txn-group"] {
            assert_eq!(partition_for(group, eight), PartitionId(7), "{group}");
        }
        assert_eq!(partition_for("sample-share", eight), PartitionId(4));
        assert_eq!(partition_for("polygenelubricants", eight), PartitionId(0));
    }
}
