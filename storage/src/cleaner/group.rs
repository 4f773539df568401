//! Which segments become one (Kafka's `groupSegmentsBySize`).
//!
//! Owns: the rule. Without it compaction would leave ever more, ever smaller segments.

use ottla_protocol::model::Offset;

use super::SourceSegment;

/// What a segment may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupLimits {
    pub(super) segment_bytes: u64,
    pub(super) index_bytes: u64,
}

/// Puts neighbours together as long as what they hold now would fit one segment: so the result fits
/// whatever is dropped.
pub(super) fn group(segments: Vec<SourceSegment>, limits: GroupLimits) -> Vec<Vec<SourceSegment>> {
    let mut groups: Vec<Vec<SourceSegment>> = Vec::new();
    let (mut log, mut offsets, mut times) = (0u64, 0u64, 0u64);
    for segment in segments {
        let fits = groups.last().and_then(|group| group.first()).is_some_and(|first| {
            // Relative offsets in indexes are 31 bits wide.
            let near = i32::try_from(last_offset(&segment).since(first.base)).is_ok();
            log + segment.log_bytes <= limits.segment_bytes
                && offsets + segment.offset_index_bytes <= limits.index_bytes
                && times + segment.time_index_bytes <= limits.index_bytes
                && (near || segment.log_bytes == 0)
        });
        if !fits {
            (log, offsets, times) = (0, 0, 0);
            groups.push(Vec::new());
        }
        log += segment.log_bytes;
        offsets += segment.offset_index_bytes;
        times += segment.time_index_bytes;
        if let Some(group) = groups.last_mut() {
            group.push(segment);
        }
    }
    groups
}

fn last_offset(segment: &SourceSegment) -> Offset {
    segment.next_base.plus(-1)
}
