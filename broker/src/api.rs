//! The one table of APIs; ApiVersions is derived from it.
//!
//! Owns: which APIs this broker serves. Never: what they do. Invariant: every file of `api/` that
//! holds a handler stands in [`TABLE`], each key once, in the order of keys.

mod add_raft_voter;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod api_versions;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
pub(crate) mod dispatch;
mod elect_leaders;
pub(crate) mod error;
mod expire_delegation_token;
pub(crate) mod fetch;
mod find_coordinator;
pub(crate) mod handler;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod remove_raft_voter;
mod renew_delegation_token;
mod sync_group;
mod unregister_broker;
mod update_features;
mod wire;

use handler::ApiEntry;

/// Every API that is served.
pub(crate) static TABLE: [ApiEntry; 48] = [
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
    ApiEntry::of::<create_topics::CreateTopics>(),
    ApiEntry::of::<delete_topics::DeleteTopics>(),
    ApiEntry::of::<delete_records::DeleteRecords>(),
    ApiEntry::of::<init_producer_id::InitProducerId>(),
    ApiEntry::of::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    ApiEntry::of::<describe_acls::DescribeAcls>(),
    ApiEntry::of::<create_acls::CreateAcls>(),
    ApiEntry::of::<delete_acls::DeleteAcls>(),
    ApiEntry::of::<describe_configs::DescribeConfigs>(),
    ApiEntry::of::<alter_configs::AlterConfigs>(),
    ApiEntry::of::<alter_replica_log_dirs::AlterReplicaLogDirs>(),
    ApiEntry::of::<describe_log_dirs::DescribeLogDirs>(),
    ApiEntry::of::<create_partitions::CreatePartitions>(),
    ApiEntry::of::<create_delegation_token::CreateDelegationToken>(),
    ApiEntry::of::<renew_delegation_token::RenewDelegationToken>(),
    ApiEntry::of::<expire_delegation_token::ExpireDelegationToken>(),
    ApiEntry::of::<describe_delegation_token::DescribeDelegationToken>(),
    ApiEntry::of::<delete_groups::DeleteGroups>(),
    ApiEntry::of::<elect_leaders::ElectLeaders>(),
    ApiEntry::of::<incremental_alter_configs::IncrementalAlterConfigs>(),
    ApiEntry::of::<alter_partition_reassignments::AlterPartitionReassignments>(),
    ApiEntry::of::<list_partition_reassignments::ListPartitionReassignments>(),
    ApiEntry::of::<offset_delete::OffsetDelete>(),
    ApiEntry::of::<describe_client_quotas::DescribeClientQuotas>(),
    ApiEntry::of::<describe_user_scram_credentials::DescribeUserScramCredentials>(),
    ApiEntry::of::<describe_quorum::DescribeQuorum>(),
    ApiEntry::of::<update_features::UpdateFeatures>(),
    ApiEntry::of::<describe_cluster::DescribeCluster>(),
    ApiEntry::of::<describe_producers::DescribeProducers>(),
    ApiEntry::of::<unregister_broker::UnregisterBroker>(),
    ApiEntry::of::<list_config_resources::ListConfigResources>(),
    ApiEntry::of::<describe_topic_partitions::DescribeTopicPartitions>(),
    ApiEntry::of::<add_raft_voter::AddRaftVoter>(),
    ApiEntry::of::<remove_raft_voter::RemoveRaftVoter>(),
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
