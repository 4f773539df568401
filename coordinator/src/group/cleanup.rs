//! Expiry of offsets, and of groups that have nothing left.
//!
//! Owns: `offsets.retention.minutes` as KIP-211 has it. Never: runs by itself; the shard calls it
//! every `offsets.retention.check.interval.ms`.
//!
//! | group | an offset expires when nobody subscribes to its topic and |
//! |---|---|
//! | without membership | its commit is older than the retention |
//! | empty | the group has been empty for longer than the retention |
//! | stable, of consumers | its commit is older than the retention |
//! | any other | never |
//!
//! Offsets with an expiry of their own (OffsetCommit v2-4) go by that instead.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::model::Timestamp;

use super::classic::{ClassicGroup, GroupState};
use super::effects::GroupRecord;
use super::offsets::Offsets;
use super::record::OffsetValue;

/// From when the retention counts.
#[derive(Clone, Copy)]
enum Since {
    Commit,
    Moment(Timestamp),
}

/// Removes the expired offsets of a group. True when none is left.
pub(crate) fn expire_offsets(
    group: &ClassicGroup,
    offsets: &mut Offsets,
    now: Timestamp,
    retention: Duration,
    records: &mut Vec<GroupRecord>,
) -> bool {
    let Some(topics) = offsets.of_group(&group.id) else {
        return !offsets.has_open_transaction(&group.id);
    };
    let Some(since) = retention_since(group) else { return false };
    let mut expired: Vec<(Arc<str>, i32)> = Vec::new();
    let mut kept = false;
    for (topic, partitions) in topics {
        let subscribed = group.is_subscribed_to(topic);
        for (partition, offset) in partitions {
            let gone = !subscribed
                && is_expired(&offset.value, since, now, retention)
                && !offsets.has_pending(&group.id, topic, *partition);
            if gone {
                expired.push((Arc::clone(topic), *partition));
            } else {
                kept = true;
            }
        }
    }
    for (topic, partition) in expired {
        offsets.bury(&group.id, &topic, partition, records);
    }
    !kept && !offsets.has_open_transaction(&group.id)
}

fn retention_since(group: &ClassicGroup) -> Option<Since> {
    if group.protocol_type.is_none() {
        return Some(Since::Commit);
    }
    match group.state {
        GroupState::Empty => Some(group.state_since.map_or(Since::Commit, Since::Moment)),
        GroupState::Stable if group.uses_consumer_protocol() && group.subscribed.is_some() => {
            Some(Since::Commit)
        }
        _ => None,
    }
}

fn is_expired(value: &OffsetValue, since: Since, now: Timestamp, retention: Duration) -> bool {
    if let Some(expiry) = value.expire_timestamp {
        return now >= expiry;
    }
    let start = match since {
        Since::Commit => value.commit_timestamp,
        Since::Moment(moment) => moment,
    };
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    now.millis_since(start) >= retention_ms
}
