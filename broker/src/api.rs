//! The one table of APIs; ApiVersions is derived from it.
//!
//! Owns: which APIs this broker serves. Never: what they do. Invariant: every file of `api/` that
//! holds a handler stands in [`TABLE`], each key once, in the order of keys.

mod api_versions;
mod delete_groups;
mod describe_groups;
pub(crate) mod dispatch;
pub(crate) mod error;
pub(crate) mod fetch;
mod find_coordinator;
pub(crate) mod handler;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod wire;

use handler::ApiEntry;

/// Every API that is served.
pub(crate) static TABLE: [ApiEntry; 18] = [
    ApiEntry::of::<produce::Produce>(),
    ApiEntry::of::<fetch::Fetch>(),
    ApiEntry::of::<list_offsets::ListOffsets>(),
    ApiEntry::of::<metadata::Metadata>(),
    ApiEntry::of::<offset_commit::OffsetCommit>(),
    ApiEntry::of::<offset_fetch::OffsetFetch>(),
    ApiEntry::of::<find_coordinator::FindCoordinator>(),
    ApiEntry::of::<join_group::JoinGroup>(),
    ApiEntry::of::<heartbeat::Heartbeat>(),
    ApiEntry::of::<leave_group::LeaveGroup>(),
    ApiEntry::of::<sync_group::SyncGroup>(),
    ApiEntry::of::<describe_groups::DescribeGroups>(),
    ApiEntry::of::<list_groups::ListGroups>(),
    ApiEntry::of::<api_versions::ApiVersions>(),
    ApiEntry::of::<init_producer_id::InitProducerId>(),
    ApiEntry::of::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    ApiEntry::of::<delete_groups::DeleteGroups>(),
    ApiEntry::of::<offset_delete::OffsetDelete>(),
];

/// Where an API stands in the table.
pub(crate) fn row_of(key: i16) -> Option<usize> {
    TABLE.binary_search_by_key(&key, |entry| entry.key).ok()
}

/// The names of all APIs, in the table's order.
pub(crate) fn names() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert_eq!(row_of(18).map(|row| TABLE[row].name), Some("ApiVersions"));
        assert_eq!(row_of(999), None);
    }
}
