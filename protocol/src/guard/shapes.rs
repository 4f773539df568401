//! The shape of every request by version, for the guard to walk.
//!
//! Owns: facts of Kafka's message definitions. Never: edited by hand; it is written by
//! `cargo xtask shapes`, and the hash is checked. Invariant: sorted by API key.
//! Hash of what follows: 37ccf348e0b2aead.

use super::shape::{A, B1, B2, B4, B8, B16, BYTES, M, S, STR};
use super::shape::{Request, Struct, f, n, r, s, t, u};

const PRODUCE_PARTITION_PRODUCE_DATA: Struct = s(64, &[f(0, M, B4), n(0, M, 0, M, BYTES)]);
const PRODUCE_TOPIC_PRODUCE_DATA: Struct = s(96, &[
    f(0, 12, STR), f(13, M, B16), f(0, M, A(&S(&PRODUCE_PARTITION_PRODUCE_DATA))),
]);
const PRODUCE: Struct = s(96, &[
    n(3, M, 3, M, STR), f(0, M, B2), f(0, M, B4), f(0, M, A(&S(&PRODUCE_TOPIC_PRODUCE_DATA))),
]);
const FETCH_REPLICA_STATE: Struct = s(40, &[f(15, M, B4), f(15, M, B8)]);
const FETCH_FETCH_PARTITION: Struct = s(96, &[
    f(0, M, B4), f(9, M, B4), f(0, M, B8), f(12, M, B4), f(5, M, B8), f(0, M, B4), t(0, 17, M, B16),
    t(1, 18, M, B8),
]);
const FETCH_FETCH_TOPIC: Struct = s(96, &[
    f(0, 12, STR), f(13, M, B16), f(0, M, A(&S(&FETCH_FETCH_PARTITION))),
]);
const FETCH_FORGOTTEN_TOPIC: Struct = s(96, &[f(7, 12, STR), f(13, M, B16), f(7, M, A(&B4))]);
const FETCH: Struct = s(232, &[
    u(0, 12, M, 12, M, STR), f(0, 14, B4), t(1, 15, M, S(&FETCH_REPLICA_STATE)), f(0, M, B4),
    f(0, M, B4), f(3, M, B4), f(4, M, B1), f(7, M, B4), f(7, M, B4),
    f(0, M, A(&S(&FETCH_FETCH_TOPIC))), f(7, M, A(&S(&FETCH_FORGOTTEN_TOPIC))), f(11, M, STR),
]);
const LIST_OFFSETS_LIST_OFFSETS_PARTITION: Struct = s(48, &[f(0, M, B4), f(4, M, B4), f(0, M, B8)]);
const LIST_OFFSETS_LIST_OFFSETS_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&LIST_OFFSETS_LIST_OFFSETS_PARTITION))),
]);
const LIST_OFFSETS: Struct = s(72, &[
    f(0, M, B4), f(2, M, B1), f(0, M, A(&S(&LIST_OFFSETS_LIST_OFFSETS_TOPIC))), f(10, M, B4),
]);
const METADATA_METADATA_REQUEST_TOPIC: Struct = s(72, &[f(10, M, B16), n(0, M, 10, M, STR)]);
const METADATA: Struct = s(72, &[
    n(0, M, 1, M, A(&S(&METADATA_METADATA_REQUEST_TOPIC))), f(4, M, B1), f(8, 10, B1), f(8, M, B1),
]);
const OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_PARTITION: Struct = s(80, &[
    f(0, M, B4), f(0, M, B8), f(6, M, B4), n(0, M, 0, M, STR),
]);
const OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_TOPIC: Struct = s(96, &[
    f(0, 9, STR), f(10, M, B16), f(0, M, A(&S(&OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_PARTITION))),
]);
const OFFSET_COMMIT: Struct = s(160, &[
    f(0, M, STR), f(1, M, B4), f(1, M, STR), n(7, M, 7, M, STR), f(2, 4, B8),
    f(0, M, A(&S(&OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_TOPIC))),
]);
const OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPIC: Struct = s(80, &[f(0, 7, STR), f(0, 7, A(&B4))]);
const OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPICS: Struct = s(96, &[
    f(8, 9, STR), f(10, M, B16), f(8, M, A(&B4)),
]);
const OFFSET_FETCH_OFFSET_FETCH_REQUEST_GROUP: Struct = s(120, &[
    f(8, M, STR), n(9, M, 9, M, STR), f(9, M, B4),
    n(8, M, 8, M, A(&S(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPICS))),
]);
const OFFSET_FETCH: Struct = s(112, &[
    f(0, 7, STR), n(0, 7, 2, 7, A(&S(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPIC))),
    f(8, M, A(&S(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_GROUP))), f(7, M, B1),
]);
const FIND_COORDINATOR: Struct = s(88, &[f(0, 3, STR), f(1, M, B1), f(4, M, A(&STR))]);
const JOIN_GROUP_JOIN_GROUP_REQUEST_PROTOCOL: Struct = s(88, &[f(0, M, STR), f(0, M, BYTES)]);
const JOIN_GROUP: Struct = s(224, &[
    f(0, M, STR), f(0, M, B4), f(1, M, B4), f(0, M, STR), n(5, M, 5, M, STR), f(0, M, STR),
    f(0, M, A(&S(&JOIN_GROUP_JOIN_GROUP_REQUEST_PROTOCOL))), n(8, M, 8, M, STR),
]);
const HEARTBEAT: Struct = s(128, &[f(0, M, STR), f(0, M, B4), f(0, M, STR), n(3, M, 3, M, STR)]);
const LEAVE_GROUP_MEMBER_IDENTITY: Struct = s(120, &[
    f(3, M, STR), n(3, M, 3, M, STR), n(5, M, 5, M, STR),
]);
const LEAVE_GROUP: Struct = s(112, &[
    f(0, M, STR), f(0, 2, STR), f(3, M, A(&S(&LEAVE_GROUP_MEMBER_IDENTITY))),
]);
const SYNC_GROUP_SYNC_GROUP_REQUEST_ASSIGNMENT: Struct = s(88, &[f(0, M, STR), f(0, M, BYTES)]);
const SYNC_GROUP: Struct = s(216, &[
    f(0, M, STR), f(0, M, B4), f(0, M, STR), n(3, M, 3, M, STR), n(5, M, 5, M, STR),
    n(5, M, 5, M, STR), f(0, M, A(&S(&SYNC_GROUP_SYNC_GROUP_REQUEST_ASSIGNMENT))),
]);
const DESCRIBE_GROUPS: Struct = s(56, &[f(0, M, A(&STR)), f(3, M, B1)]);
const LIST_GROUPS: Struct = s(72, &[f(4, M, A(&STR)), f(5, M, A(&STR))]);
const SASL_HANDSHAKE: Struct = s(56, &[f(0, M, STR)]);
const API_VERSIONS: Struct = s(128, &[f(3, M, STR), f(3, M, STR), n(5, M, 5, M, STR), f(5, M, B4)]);
const CREATE_TOPICS_CREATABLE_REPLICA_ASSIGNMENT: Struct = s(56, &[f(0, M, B4), f(0, M, A(&B4))]);
const CREATE_TOPICS_CREATABLE_TOPIC_CONFIG: Struct = s(88, &[f(0, M, STR), n(0, M, 0, M, STR)]);
const CREATE_TOPICS_CREATABLE_TOPIC: Struct = s(120, &[
    f(0, M, STR), f(0, M, B4), f(0, M, B2),
    f(0, M, A(&S(&CREATE_TOPICS_CREATABLE_REPLICA_ASSIGNMENT))),
    f(0, M, A(&S(&CREATE_TOPICS_CREATABLE_TOPIC_CONFIG))),
]);
const CREATE_TOPICS: Struct = s(64, &[
    f(0, M, A(&S(&CREATE_TOPICS_CREATABLE_TOPIC))), f(0, M, B4), f(1, M, B1),
]);
const DELETE_TOPICS_DELETE_TOPIC_STATE: Struct = s(72, &[n(6, M, 6, M, STR), f(6, M, B16)]);
const DELETE_TOPICS: Struct = s(80, &[
    f(6, M, A(&S(&DELETE_TOPICS_DELETE_TOPIC_STATE))), f(0, 5, A(&STR)), f(0, M, B4),
]);
const DELETE_RECORDS_DELETE_RECORDS_PARTITION: Struct = s(40, &[f(0, M, B4), f(0, M, B8)]);
const DELETE_RECORDS_DELETE_RECORDS_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&DELETE_RECORDS_DELETE_RECORDS_PARTITION))),
]);
const DELETE_RECORDS: Struct = s(56, &[
    f(0, M, A(&S(&DELETE_RECORDS_DELETE_RECORDS_TOPIC))), f(0, M, B4),
]);
const INIT_PRODUCER_ID: Struct = s(96, &[
    n(0, M, 0, M, STR), f(0, M, B4), f(3, M, B8), f(3, M, B2), f(6, M, B1), f(6, M, B1),
]);
const OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_PARTITION: Struct = s(48, &[
    f(0, M, B4), f(2, M, B4), f(0, M, B4),
]);
const OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_PARTITION))),
]);
const OFFSET_FOR_LEADER_EPOCH: Struct = s(56, &[
    f(3, M, B4), f(0, M, A(&S(&OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_TOPIC))),
]);
const ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&B4)),
]);
const ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TRANSACTION: Struct = s(104, &[
    f(4, M, STR), f(4, M, B8), f(4, M, B2), f(4, M, B1),
    f(4, M, A(&S(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC))),
]);
const ADD_PARTITIONS_TO_TXN: Struct = s(120, &[
    f(4, M, A(&S(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TRANSACTION))), f(0, 3, STR),
    f(0, 3, B8), f(0, 3, B2), f(0, 3, A(&S(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC))),
]);
const ADD_OFFSETS_TO_TXN: Struct = s(104, &[f(0, M, STR), f(0, M, B8), f(0, M, B2), f(0, M, STR)]);
const END_TXN: Struct = s(80, &[f(0, M, STR), f(0, M, B8), f(0, M, B2), f(0, M, B1)]);
const WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER_TOPIC: Struct = s(80, &[f(0, M, STR), f(0, M, A(&B4))]);
const WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER: Struct = s(88, &[
    f(0, M, B8), f(0, M, B2), f(0, M, B1),
    f(0, M, A(&S(&WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER_TOPIC))), f(0, M, B4), f(2, M, B1),
]);
const WRITE_TXN_MARKERS: Struct = s(48, &[f(0, M, A(&S(&WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER)))]);
const TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_PARTITION: Struct = s(80, &[
    f(0, M, B4), f(0, M, B8), f(2, M, B4), n(0, M, 0, M, STR),
]);
const TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_TOPIC: Struct = s(96, &[
    f(0, 5, STR), f(6, M, B16),
    f(0, M, A(&S(&TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_PARTITION))),
]);
const TXN_OFFSET_COMMIT: Struct = s(200, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B8), f(0, M, B2), f(3, M, B4), f(3, M, STR),
    n(3, M, 3, M, STR), f(0, M, A(&S(&TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_TOPIC))),
]);
const DESCRIBE_ACLS: Struct = s(152, &[
    f(0, M, B1), n(0, M, 0, M, STR), f(1, M, B1), n(0, M, 0, M, STR), n(0, M, 0, M, STR),
    f(0, M, B1), f(0, M, B1),
]);
const CREATE_ACLS_ACL_CREATION: Struct = s(152, &[
    f(0, M, B1), f(0, M, STR), f(1, M, B1), f(0, M, STR), f(0, M, STR), f(0, M, B1), f(0, M, B1),
]);
const CREATE_ACLS: Struct = s(48, &[f(0, M, A(&S(&CREATE_ACLS_ACL_CREATION)))]);
const DELETE_ACLS_DELETE_ACLS_FILTER: Struct = s(152, &[
    f(0, M, B1), n(0, M, 0, M, STR), f(1, M, B1), n(0, M, 0, M, STR), n(0, M, 0, M, STR),
    f(0, M, B1), f(0, M, B1),
]);
const DELETE_ACLS: Struct = s(48, &[f(0, M, A(&S(&DELETE_ACLS_DELETE_ACLS_FILTER)))]);
const DESCRIBE_CONFIGS_DESCRIBE_CONFIGS_RESOURCE: Struct = s(88, &[
    f(0, M, B1), f(0, M, STR), n(0, M, 0, M, A(&STR)),
]);
const DESCRIBE_CONFIGS: Struct = s(64, &[
    f(0, M, A(&S(&DESCRIBE_CONFIGS_DESCRIBE_CONFIGS_RESOURCE))), f(1, M, B1), f(3, M, B1),
]);
const ALTER_CONFIGS_ALTERABLE_CONFIG: Struct = s(88, &[f(0, M, STR), n(0, M, 0, M, STR)]);
const ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE: Struct = s(88, &[
    f(0, M, B1), f(0, M, STR), f(0, M, A(&S(&ALTER_CONFIGS_ALTERABLE_CONFIG))),
]);
const ALTER_CONFIGS: Struct = s(56, &[
    f(0, M, A(&S(&ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE))), f(0, M, B1),
]);
const ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&B4)),
]);
const ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR_TOPIC))),
]);
const ALTER_REPLICA_LOG_DIRS: Struct = s(48, &[
    f(0, M, A(&S(&ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR))),
]);
const DESCRIBE_LOG_DIRS_DESCRIBABLE_LOG_DIR_TOPIC: Struct = s(80, &[f(0, M, STR), f(0, M, A(&B4))]);
const DESCRIBE_LOG_DIRS: Struct = s(48, &[
    n(0, M, 0, M, A(&S(&DESCRIBE_LOG_DIRS_DESCRIBABLE_LOG_DIR_TOPIC))),
]);
const SASL_AUTHENTICATE: Struct = s(56, &[f(0, M, BYTES)]);
const CREATE_PARTITIONS_CREATE_PARTITIONS_ASSIGNMENT: Struct = s(48, &[f(0, M, A(&B4))]);
const CREATE_PARTITIONS_CREATE_PARTITIONS_TOPIC: Struct = s(88, &[
    f(0, M, STR), f(0, M, B4),
    n(0, M, 0, M, A(&S(&CREATE_PARTITIONS_CREATE_PARTITIONS_ASSIGNMENT))),
]);
const CREATE_PARTITIONS: Struct = s(64, &[
    f(0, M, A(&S(&CREATE_PARTITIONS_CREATE_PARTITIONS_TOPIC))), f(0, M, B4), f(0, M, B1),
]);
const CREATE_DELEGATION_TOKEN_CREATABLE_RENEWERS: Struct = s(88, &[f(0, M, STR), f(0, M, STR)]);
const CREATE_DELEGATION_TOKEN: Struct = s(120, &[
    n(3, M, 3, M, STR), n(3, M, 3, M, STR),
    f(0, M, A(&S(&CREATE_DELEGATION_TOKEN_CREATABLE_RENEWERS))), f(0, M, B8),
]);
const RENEW_DELEGATION_TOKEN: Struct = s(64, &[f(0, M, BYTES), f(0, M, B8)]);
const EXPIRE_DELEGATION_TOKEN: Struct = s(64, &[f(0, M, BYTES), f(0, M, B8)]);
const DESCRIBE_DELEGATION_TOKEN_DESCRIBE_DELEGATION_TOKEN_OWNER: Struct = s(88, &[
    f(0, M, STR), f(0, M, STR),
]);
const DESCRIBE_DELEGATION_TOKEN: Struct = s(48, &[
    n(0, M, 0, M, A(&S(&DESCRIBE_DELEGATION_TOKEN_DESCRIBE_DELEGATION_TOKEN_OWNER))),
]);
const DELETE_GROUPS: Struct = s(48, &[f(0, M, A(&STR))]);
const ELECT_LEADERS_TOPIC_PARTITIONS: Struct = s(80, &[f(0, M, STR), f(0, M, A(&B4))]);
const ELECT_LEADERS: Struct = s(64, &[
    f(1, M, B1), n(0, M, 0, M, A(&S(&ELECT_LEADERS_TOPIC_PARTITIONS))), f(0, M, B4),
]);
const INCREMENTAL_ALTER_CONFIGS_ALTERABLE_CONFIG: Struct = s(96, &[
    f(0, M, STR), f(0, M, B1), n(0, M, 0, M, STR),
]);
const INCREMENTAL_ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE: Struct = s(88, &[
    f(0, M, B1), f(0, M, STR), f(0, M, A(&S(&INCREMENTAL_ALTER_CONFIGS_ALTERABLE_CONFIG))),
]);
const INCREMENTAL_ALTER_CONFIGS: Struct = s(56, &[
    f(0, M, A(&S(&INCREMENTAL_ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE))), f(0, M, B1),
]);
const ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_PARTITION: Struct = s(56, &[
    f(0, M, B4), n(0, M, 0, M, A(&B4)),
]);
const ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_PARTITION))),
]);
const ALTER_PARTITION_REASSIGNMENTS: Struct = s(64, &[
    f(0, M, B4), f(1, M, B1), f(0, M, A(&S(&ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_TOPIC))),
]);
const LIST_PARTITION_REASSIGNMENTS_LIST_PARTITION_REASSIGNMENTS_TOPICS: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&B4)),
]);
const LIST_PARTITION_REASSIGNMENTS: Struct = s(56, &[
    f(0, M, B4),
    n(0, M, 0, M, A(&S(&LIST_PARTITION_REASSIGNMENTS_LIST_PARTITION_REASSIGNMENTS_TOPICS))),
]);
const OFFSET_DELETE_OFFSET_DELETE_REQUEST_PARTITION: Struct = s(32, &[f(0, M, B4)]);
const OFFSET_DELETE_OFFSET_DELETE_REQUEST_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&OFFSET_DELETE_OFFSET_DELETE_REQUEST_PARTITION))),
]);
const OFFSET_DELETE: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&OFFSET_DELETE_OFFSET_DELETE_REQUEST_TOPIC))),
]);
const DESCRIBE_CLIENT_QUOTAS_COMPONENT_DATA: Struct = s(96, &[
    f(0, M, STR), f(0, M, B1), n(0, M, 0, M, STR),
]);
const DESCRIBE_CLIENT_QUOTAS: Struct = s(56, &[
    f(0, M, A(&S(&DESCRIBE_CLIENT_QUOTAS_COMPONENT_DATA))), f(0, M, B1),
]);
const ALTER_CLIENT_QUOTAS_ENTITY_DATA: Struct = s(88, &[f(0, M, STR), n(0, M, 0, M, STR)]);
const ALTER_CLIENT_QUOTAS_OP_DATA: Struct = s(72, &[f(0, M, STR), f(0, M, B8), f(0, M, B1)]);
const ALTER_CLIENT_QUOTAS_ENTRY_DATA: Struct = s(72, &[
    f(0, M, A(&S(&ALTER_CLIENT_QUOTAS_ENTITY_DATA))), f(0, M, A(&S(&ALTER_CLIENT_QUOTAS_OP_DATA))),
]);
const ALTER_CLIENT_QUOTAS: Struct = s(56, &[
    f(0, M, A(&S(&ALTER_CLIENT_QUOTAS_ENTRY_DATA))), f(0, M, B1),
]);
const DESCRIBE_USER_SCRAM_CREDENTIALS_USER_NAME: Struct = s(56, &[f(0, M, STR)]);
const DESCRIBE_USER_SCRAM_CREDENTIALS: Struct = s(48, &[
    n(0, M, 0, M, A(&S(&DESCRIBE_USER_SCRAM_CREDENTIALS_USER_NAME))),
]);
const ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_DELETION: Struct = s(64, &[
    f(0, M, STR), f(0, M, B1),
]);
const ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_UPSERTION: Struct = s(136, &[
    f(0, M, STR), f(0, M, B1), f(0, M, B4), f(0, M, BYTES), f(0, M, BYTES),
]);
const ALTER_USER_SCRAM_CREDENTIALS: Struct = s(72, &[
    f(0, M, A(&S(&ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_DELETION))),
    f(0, M, A(&S(&ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_UPSERTION))),
]);
const VOTE_PARTITION_DATA: Struct = s(104, &[
    f(0, M, B4), f(0, M, B4), f(0, M, B4), f(1, M, B16), f(1, M, B16), f(0, M, B4), f(0, M, B8),
    f(2, M, B1),
]);
const VOTE_TOPIC_DATA: Struct = s(80, &[f(0, M, STR), f(0, M, A(&S(&VOTE_PARTITION_DATA)))]);
const VOTE: Struct = s(88, &[n(0, M, 0, M, STR), f(1, M, B4), f(0, M, A(&S(&VOTE_TOPIC_DATA)))]);
const BEGIN_QUORUM_EPOCH_PARTITION_DATA: Struct = s(64, &[
    f(0, M, B4), f(1, M, B16), f(0, M, B4), f(0, M, B4),
]);
const BEGIN_QUORUM_EPOCH_TOPIC_DATA: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&BEGIN_QUORUM_EPOCH_PARTITION_DATA))),
]);
const BEGIN_QUORUM_EPOCH_LEADER_ENDPOINT: Struct = s(96, &[
    f(1, M, STR), f(1, M, STR), f(1, M, B2),
]);
const BEGIN_QUORUM_EPOCH: Struct = s(112, &[
    n(0, M, 0, M, STR), f(1, M, B4), f(0, M, A(&S(&BEGIN_QUORUM_EPOCH_TOPIC_DATA))),
    f(1, M, A(&S(&BEGIN_QUORUM_EPOCH_LEADER_ENDPOINT))),
]);
const END_QUORUM_EPOCH_REPLICA_INFO: Struct = s(48, &[f(1, M, B4), f(1, M, B16)]);
const END_QUORUM_EPOCH_PARTITION_DATA: Struct = s(96, &[
    f(0, M, B4), f(0, M, B4), f(0, M, B4), f(0, 0, A(&B4)),
    f(1, M, A(&S(&END_QUORUM_EPOCH_REPLICA_INFO))),
]);
const END_QUORUM_EPOCH_TOPIC_DATA: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&END_QUORUM_EPOCH_PARTITION_DATA))),
]);
const END_QUORUM_EPOCH_LEADER_ENDPOINT: Struct = s(96, &[f(1, M, STR), f(1, M, STR), f(1, M, B2)]);
const END_QUORUM_EPOCH: Struct = s(104, &[
    n(0, M, 0, M, STR), f(0, M, A(&S(&END_QUORUM_EPOCH_TOPIC_DATA))),
    f(1, M, A(&S(&END_QUORUM_EPOCH_LEADER_ENDPOINT))),
]);
const DESCRIBE_QUORUM_PARTITION_DATA: Struct = s(32, &[f(0, M, B4)]);
const DESCRIBE_QUORUM_TOPIC_DATA: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&DESCRIBE_QUORUM_PARTITION_DATA))),
]);
const DESCRIBE_QUORUM: Struct = s(48, &[f(0, M, A(&S(&DESCRIBE_QUORUM_TOPIC_DATA)))]);
const ALTER_PARTITION_BROKER_STATE: Struct = s(40, &[f(3, M, B4), f(3, M, B8)]);
const ALTER_PARTITION_PARTITION_DATA: Struct = s(104, &[
    f(0, M, B4), f(0, M, B4), f(0, 2, A(&B4)), f(3, M, A(&S(&ALTER_PARTITION_BROKER_STATE))),
    f(1, M, B1), f(0, M, B4),
]);
const ALTER_PARTITION_TOPIC_DATA: Struct = s(64, &[
    f(2, M, B16), f(0, M, A(&S(&ALTER_PARTITION_PARTITION_DATA))),
]);
const ALTER_PARTITION: Struct = s(64, &[
    f(0, M, B4), f(0, M, B8), f(0, M, A(&S(&ALTER_PARTITION_TOPIC_DATA))),
]);
const UPDATE_FEATURES_FEATURE_UPDATE_KEY: Struct = s(80, &[
    f(0, M, STR), f(0, M, B2), f(0, 0, B1), f(1, M, B1),
]);
const UPDATE_FEATURES: Struct = s(64, &[
    f(0, M, B4), f(0, M, A(&S(&UPDATE_FEATURES_FEATURE_UPDATE_KEY))), f(1, M, B1),
]);
const ENVELOPE: Struct = s(120, &[f(0, M, BYTES), n(0, M, 0, M, BYTES), f(0, M, BYTES)]);
const FETCH_SNAPSHOT_SNAPSHOT_ID: Struct = s(40, &[f(0, M, B8), f(0, M, B4)]);
const FETCH_SNAPSHOT_PARTITION_SNAPSHOT: Struct = s(104, &[
    f(0, M, B4), f(0, M, B4), f(0, M, S(&FETCH_SNAPSHOT_SNAPSHOT_ID)), f(0, M, B8), t(0, 1, M, B16),
]);
const FETCH_SNAPSHOT_TOPIC_SNAPSHOT: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&FETCH_SNAPSHOT_PARTITION_SNAPSHOT))),
]);
const FETCH_SNAPSHOT: Struct = s(96, &[
    u(0, 0, M, 0, M, STR), f(0, M, B4), f(0, M, B4), f(0, M, A(&S(&FETCH_SNAPSHOT_TOPIC_SNAPSHOT))),
]);
const DESCRIBE_CLUSTER: Struct = s(48, &[f(0, M, B1), f(1, M, B1), f(2, M, B1)]);
const DESCRIBE_PRODUCERS_TOPIC_REQUEST: Struct = s(80, &[f(0, M, STR), f(0, M, A(&B4))]);
const DESCRIBE_PRODUCERS: Struct = s(48, &[f(0, M, A(&S(&DESCRIBE_PRODUCERS_TOPIC_REQUEST)))]);
const BROKER_REGISTRATION_LISTENER: Struct = s(104, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B2), f(0, M, B2),
]);
const BROKER_REGISTRATION_FEATURE: Struct = s(72, &[f(0, M, STR), f(0, M, B2), f(0, M, B2)]);
const BROKER_REGISTRATION: Struct = s(200, &[
    f(0, M, B4), f(0, M, STR), f(0, M, B16), f(0, M, A(&S(&BROKER_REGISTRATION_LISTENER))),
    f(0, M, A(&S(&BROKER_REGISTRATION_FEATURE))), n(0, M, 0, M, STR), f(1, M, B1), f(2, M, A(&B16)),
    f(3, M, B8),
]);
const BROKER_HEARTBEAT: Struct = s(112, &[
    f(0, M, B4), f(0, M, B8), f(0, M, B8), f(0, M, B1), f(0, M, B1), t(0, 1, M, A(&B16)),
    u(1, 2, M, 2, M, A(&B16)),
]);
const UNREGISTER_BROKER: Struct = s(32, &[f(0, M, B4)]);
const DESCRIBE_TRANSACTIONS: Struct = s(48, &[f(0, M, A(&STR))]);
const LIST_TRANSACTIONS: Struct = s(112, &[
    f(0, M, A(&STR)), f(0, M, A(&B8)), f(1, M, B8), n(2, M, 2, M, STR),
]);
const ALLOCATE_PRODUCER_IDS: Struct = s(40, &[f(0, M, B4), f(0, M, B8)]);
const CONSUMER_GROUP_HEARTBEAT_TOPIC_PARTITIONS: Struct = s(64, &[f(0, M, B16), f(0, M, A(&B4))]);
const CONSUMER_GROUP_HEARTBEAT: Struct = s(280, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B4), n(0, M, 0, M, STR), n(0, M, 0, M, STR), f(0, M, B4),
    n(0, M, 0, M, A(&STR)), n(1, M, 1, M, STR), n(0, M, 0, M, STR),
    n(0, M, 0, M, A(&S(&CONSUMER_GROUP_HEARTBEAT_TOPIC_PARTITIONS))),
]);
const CONSUMER_GROUP_DESCRIBE: Struct = s(56, &[f(0, M, A(&STR)), f(0, M, B1)]);
const CONTROLLER_REGISTRATION_LISTENER: Struct = s(104, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B2), f(0, M, B2),
]);
const CONTROLLER_REGISTRATION_FEATURE: Struct = s(72, &[f(0, M, STR), f(0, M, B2), f(0, M, B2)]);
const CONTROLLER_REGISTRATION: Struct = s(104, &[
    f(0, M, B4), f(0, M, B16), f(0, M, B1), f(0, M, A(&S(&CONTROLLER_REGISTRATION_LISTENER))),
    f(0, M, A(&S(&CONTROLLER_REGISTRATION_FEATURE))),
]);
const GET_TELEMETRY_SUBSCRIPTIONS: Struct = s(40, &[f(0, M, B16)]);
const PUSH_TELEMETRY: Struct = s(96, &[
    f(0, M, B16), f(0, M, B4), f(0, M, B1), f(0, M, B1), f(0, M, BYTES),
]);
const ASSIGN_REPLICAS_TO_DIRS_PARTITION_DATA: Struct = s(32, &[f(0, M, B4)]);
const ASSIGN_REPLICAS_TO_DIRS_TOPIC_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&ASSIGN_REPLICAS_TO_DIRS_PARTITION_DATA))),
]);
const ASSIGN_REPLICAS_TO_DIRS_DIRECTORY_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&ASSIGN_REPLICAS_TO_DIRS_TOPIC_DATA))),
]);
const ASSIGN_REPLICAS_TO_DIRS: Struct = s(64, &[
    f(0, M, B4), f(0, M, B8), f(0, M, A(&S(&ASSIGN_REPLICAS_TO_DIRS_DIRECTORY_DATA))),
]);
const LIST_CONFIG_RESOURCES: Struct = s(48, &[f(1, M, A(&B1))]);
const DESCRIBE_TOPIC_PARTITIONS_TOPIC_REQUEST: Struct = s(56, &[f(0, M, STR)]);
const DESCRIBE_TOPIC_PARTITIONS_CURSOR: Struct = s(64, &[f(0, M, STR), f(0, M, B4)]);
const DESCRIBE_TOPIC_PARTITIONS: Struct = s(120, &[
    f(0, M, A(&S(&DESCRIBE_TOPIC_PARTITIONS_TOPIC_REQUEST))), f(0, M, B4),
    n(0, M, 0, M, S(&DESCRIBE_TOPIC_PARTITIONS_CURSOR)),
]);
const SHARE_GROUP_HEARTBEAT: Struct = s(152, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B4), n(0, M, 0, M, STR), n(0, M, 0, M, A(&STR)),
]);
const SHARE_GROUP_DESCRIBE: Struct = s(56, &[f(0, M, A(&STR)), f(0, M, B1)]);
const SHARE_FETCH_ACKNOWLEDGEMENT_BATCH: Struct = s(64, &[
    f(0, M, B8), f(0, M, B8), f(0, M, A(&B1)),
]);
const SHARE_FETCH_FETCH_PARTITION: Struct = s(64, &[
    f(0, M, B4), f(0, 0, B4), f(0, M, A(&S(&SHARE_FETCH_ACKNOWLEDGEMENT_BATCH))),
]);
const SHARE_FETCH_FETCH_TOPIC: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&SHARE_FETCH_FETCH_PARTITION))),
]);
const SHARE_FETCH_FORGOTTEN_TOPIC: Struct = s(64, &[f(0, M, B16), f(0, M, A(&B4))]);
const SHARE_FETCH: Struct = s(200, &[
    n(0, M, 0, M, STR), n(0, M, 0, M, STR), f(0, M, B4), f(0, M, B4), f(0, M, B4), f(0, M, B4),
    f(1, M, B4), f(1, M, B4), f(2, M, B1), f(2, M, B1), f(0, M, A(&S(&SHARE_FETCH_FETCH_TOPIC))),
    f(0, M, A(&S(&SHARE_FETCH_FORGOTTEN_TOPIC))),
]);
const SHARE_ACKNOWLEDGE_ACKNOWLEDGEMENT_BATCH: Struct = s(64, &[
    f(0, M, B8), f(0, M, B8), f(0, M, A(&B1)),
]);
const SHARE_ACKNOWLEDGE_ACKNOWLEDGE_PARTITION: Struct = s(56, &[
    f(0, M, B4), f(0, M, A(&S(&SHARE_ACKNOWLEDGE_ACKNOWLEDGEMENT_BATCH))),
]);
const SHARE_ACKNOWLEDGE_ACKNOWLEDGE_TOPIC: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&SHARE_ACKNOWLEDGE_ACKNOWLEDGE_PARTITION))),
]);
const SHARE_ACKNOWLEDGE: Struct = s(128, &[
    n(0, M, 0, M, STR), n(0, M, 0, M, STR), f(0, M, B4), f(2, M, B1),
    f(0, M, A(&S(&SHARE_ACKNOWLEDGE_ACKNOWLEDGE_TOPIC))),
]);
const ADD_RAFT_VOTER_LISTENER: Struct = s(96, &[f(0, M, STR), f(0, M, STR), f(0, M, B2)]);
const ADD_RAFT_VOTER: Struct = s(120, &[
    n(0, M, 0, M, STR), f(0, M, B4), f(0, M, B4), f(0, M, B16),
    f(0, M, A(&S(&ADD_RAFT_VOTER_LISTENER))), f(1, M, B1),
]);
const REMOVE_RAFT_VOTER: Struct = s(80, &[n(0, M, 0, M, STR), f(0, M, B4), f(0, M, B16)]);
const UPDATE_RAFT_VOTER_LISTENER: Struct = s(96, &[f(0, M, STR), f(0, M, STR), f(0, M, B2)]);
const UPDATE_RAFT_VOTER_K_RAFT_VERSION_FEATURE: Struct = s(40, &[f(0, M, B2), f(0, M, B2)]);
const UPDATE_RAFT_VOTER: Struct = s(152, &[
    n(0, M, 0, M, STR), f(0, M, B4), f(0, M, B4), f(0, M, B16),
    f(0, M, A(&S(&UPDATE_RAFT_VOTER_LISTENER))),
    f(0, M, S(&UPDATE_RAFT_VOTER_K_RAFT_VERSION_FEATURE)),
]);
const INITIALIZE_SHARE_GROUP_STATE_PARTITION_DATA: Struct = s(48, &[
    f(0, M, B4), f(0, M, B4), f(0, M, B8),
]);
const INITIALIZE_SHARE_GROUP_STATE_INITIALIZE_STATE_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&INITIALIZE_SHARE_GROUP_STATE_PARTITION_DATA))),
]);
const INITIALIZE_SHARE_GROUP_STATE: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&INITIALIZE_SHARE_GROUP_STATE_INITIALIZE_STATE_DATA))),
]);
const READ_SHARE_GROUP_STATE_PARTITION_DATA: Struct = s(40, &[f(0, M, B4), f(0, M, B4)]);
const READ_SHARE_GROUP_STATE_READ_STATE_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&READ_SHARE_GROUP_STATE_PARTITION_DATA))),
]);
const READ_SHARE_GROUP_STATE: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&READ_SHARE_GROUP_STATE_READ_STATE_DATA))),
]);
const WRITE_SHARE_GROUP_STATE_STATE_BATCH: Struct = s(56, &[
    f(0, M, B8), f(0, M, B8), f(0, M, B1), f(0, M, B2),
]);
const WRITE_SHARE_GROUP_STATE_PARTITION_DATA: Struct = s(88, &[
    f(0, M, B4), f(0, M, B4), f(0, M, B4), f(0, M, B8), f(1, M, B4),
    f(0, M, A(&S(&WRITE_SHARE_GROUP_STATE_STATE_BATCH))),
]);
const WRITE_SHARE_GROUP_STATE_WRITE_STATE_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&WRITE_SHARE_GROUP_STATE_PARTITION_DATA))),
]);
const WRITE_SHARE_GROUP_STATE: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&WRITE_SHARE_GROUP_STATE_WRITE_STATE_DATA))),
]);
const DELETE_SHARE_GROUP_STATE_PARTITION_DATA: Struct = s(32, &[f(0, M, B4)]);
const DELETE_SHARE_GROUP_STATE_DELETE_STATE_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&DELETE_SHARE_GROUP_STATE_PARTITION_DATA))),
]);
const DELETE_SHARE_GROUP_STATE: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&DELETE_SHARE_GROUP_STATE_DELETE_STATE_DATA))),
]);
const READ_SHARE_GROUP_STATE_SUMMARY_PARTITION_DATA: Struct = s(40, &[f(0, M, B4), f(0, M, B4)]);
const READ_SHARE_GROUP_STATE_SUMMARY_READ_STATE_SUMMARY_DATA: Struct = s(64, &[
    f(0, M, B16), f(0, M, A(&S(&READ_SHARE_GROUP_STATE_SUMMARY_PARTITION_DATA))),
]);
const READ_SHARE_GROUP_STATE_SUMMARY: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&S(&READ_SHARE_GROUP_STATE_SUMMARY_READ_STATE_SUMMARY_DATA))),
]);
const STREAMS_GROUP_HEARTBEAT_KEY_VALUE: Struct = s(88, &[f(0, M, STR), f(0, M, STR)]);
const STREAMS_GROUP_HEARTBEAT_TOPIC_INFO: Struct = s(96, &[
    f(0, M, STR), f(0, M, B4), f(0, M, B2), f(0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_KEY_VALUE))),
]);
const STREAMS_GROUP_HEARTBEAT_COPARTITION_GROUP: Struct = s(96, &[
    f(0, M, A(&B2)), f(0, M, A(&B2)), f(0, M, A(&B2)),
]);
const STREAMS_GROUP_HEARTBEAT_SUBTOPOLOGY: Struct = s(200, &[
    f(0, M, STR), f(0, M, A(&STR)), f(0, M, A(&STR)),
    f(0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TOPIC_INFO))), f(0, M, A(&STR)),
    f(0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TOPIC_INFO))),
    f(0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_COPARTITION_GROUP))),
]);
const STREAMS_GROUP_HEARTBEAT_TOPOLOGY: Struct = s(56, &[
    f(0, M, B4), f(0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_SUBTOPOLOGY))),
]);
const STREAMS_GROUP_HEARTBEAT_TASK_IDS: Struct = s(80, &[f(0, M, STR), f(0, M, A(&B4))]);
const STREAMS_GROUP_HEARTBEAT_ENDPOINT: Struct = s(64, &[f(0, M, STR), f(0, M, B2)]);
const STREAMS_GROUP_HEARTBEAT_TASK_OFFSET: Struct = s(72, &[
    f(0, M, STR), f(0, M, B4), f(0, M, B8),
]);
const STREAMS_GROUP_HEARTBEAT: Struct = s(480, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B4), f(0, M, B4), n(0, M, 0, M, STR), n(0, M, 0, M, STR),
    f(0, M, B4), n(0, M, 0, M, S(&STREAMS_GROUP_HEARTBEAT_TOPOLOGY)),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TASK_IDS))),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TASK_IDS))),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TASK_IDS))), n(0, M, 0, M, STR),
    n(0, M, 0, M, S(&STREAMS_GROUP_HEARTBEAT_ENDPOINT)),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_KEY_VALUE))),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TASK_OFFSET))),
    n(0, M, 0, M, A(&S(&STREAMS_GROUP_HEARTBEAT_TASK_OFFSET))), f(0, M, B1),
]);
const STREAMS_GROUP_DESCRIBE: Struct = s(64, &[f(0, M, A(&STR)), f(0, M, B1), f(1, M, B1)]);
const DESCRIBE_SHARE_GROUP_OFFSETS_DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST_TOPIC: Struct = s(80, &[
    f(0, M, STR), f(0, M, A(&B4)),
]);
const DESCRIBE_SHARE_GROUP_OFFSETS_DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST_GROUP: Struct = s(80, &[
    f(0, M, STR),
    n(0, M, 0, M, A(&S(&DESCRIBE_SHARE_GROUP_OFFSETS_DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST_TOPIC))),
]);
const DESCRIBE_SHARE_GROUP_OFFSETS: Struct = s(48, &[
    f(0, M, A(&S(&DESCRIBE_SHARE_GROUP_OFFSETS_DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST_GROUP))),
]);
const ALTER_SHARE_GROUP_OFFSETS_ALTER_SHARE_GROUP_OFFSETS_REQUEST_PARTITION: Struct = s(40, &[
    f(0, M, B4), f(0, M, B8),
]);
const ALTER_SHARE_GROUP_OFFSETS_ALTER_SHARE_GROUP_OFFSETS_REQUEST_TOPIC: Struct = s(80, &[
    f(0, M, STR),
    f(0, M, A(&S(&ALTER_SHARE_GROUP_OFFSETS_ALTER_SHARE_GROUP_OFFSETS_REQUEST_PARTITION))),
]);
const ALTER_SHARE_GROUP_OFFSETS: Struct = s(80, &[
    f(0, M, STR),
    f(0, M, A(&S(&ALTER_SHARE_GROUP_OFFSETS_ALTER_SHARE_GROUP_OFFSETS_REQUEST_TOPIC))),
]);
const DELETE_SHARE_GROUP_OFFSETS_DELETE_SHARE_GROUP_OFFSETS_REQUEST_TOPIC: Struct = s(56, &[
    f(0, M, STR),
]);
const DELETE_SHARE_GROUP_OFFSETS: Struct = s(80, &[
    f(0, M, STR),
    f(0, M, A(&S(&DELETE_SHARE_GROUP_OFFSETS_DELETE_SHARE_GROUP_OFFSETS_REQUEST_TOPIC))),
]);
const STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_NODE: Struct = s(168, &[
    f(0, M, STR), f(0, M, B1), f(0, M, A(&STR)), n(0, M, 0, M, STR), f(0, M, A(&STR)),
    f(0, M, A(&STR)),
]);
const STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_SUBTOPOLOGY: Struct = s(80, &[
    f(0, M, STR),
    f(0, M, A(&S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_NODE))),
]);
const STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_GLOBAL_STORE: Struct = s(360, &[
    f(0, M, S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_NODE)),
    f(0, M, S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_NODE)),
]);
const STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION: Struct = s(72, &[
    f(0, M, A(&S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_SUBTOPOLOGY))),
    f(0, M, A(&S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION_GLOBAL_STORE))),
]);
const STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE: Struct = s(168, &[
    f(0, M, STR), f(0, M, STR), f(0, M, B4),
    f(0, M, S(&STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE_TOPOLOGY_DESCRIPTION)),
]);
const UNREGISTER_CONTROLLER: Struct = s(32, &[f(0, M, B4)]);

/// Every request that has versions, in the order of the keys.
pub(super) const REQUESTS: &[Request] = &[
    r(0, "Produce", 3, 13, 9, &PRODUCE),
    r(1, "Fetch", 4, 18, 12, &FETCH),
    r(2, "ListOffsets", 1, 11, 6, &LIST_OFFSETS),
    r(3, "Metadata", 0, 13, 9, &METADATA),
    r(8, "OffsetCommit", 2, 10, 8, &OFFSET_COMMIT),
    r(9, "OffsetFetch", 1, 10, 6, &OFFSET_FETCH),
    r(10, "FindCoordinator", 0, 6, 3, &FIND_COORDINATOR),
    r(11, "JoinGroup", 0, 9, 6, &JOIN_GROUP),
    r(12, "Heartbeat", 0, 4, 4, &HEARTBEAT),
    r(13, "LeaveGroup", 0, 5, 4, &LEAVE_GROUP),
    r(14, "SyncGroup", 0, 5, 4, &SYNC_GROUP),
    r(15, "DescribeGroups", 0, 6, 5, &DESCRIBE_GROUPS),
    r(16, "ListGroups", 0, 5, 3, &LIST_GROUPS),
    r(17, "SaslHandshake", 0, 1, M, &SASL_HANDSHAKE),
    r(18, "ApiVersions", 0, 5, 3, &API_VERSIONS),
    r(19, "CreateTopics", 2, 7, 5, &CREATE_TOPICS),
    r(20, "DeleteTopics", 1, 6, 4, &DELETE_TOPICS),
    r(21, "DeleteRecords", 0, 2, 2, &DELETE_RECORDS),
    r(22, "InitProducerId", 0, 6, 2, &INIT_PRODUCER_ID),
    r(23, "OffsetForLeaderEpoch", 2, 4, 4, &OFFSET_FOR_LEADER_EPOCH),
    r(24, "AddPartitionsToTxn", 0, 5, 3, &ADD_PARTITIONS_TO_TXN),
    r(25, "AddOffsetsToTxn", 0, 4, 3, &ADD_OFFSETS_TO_TXN),
    r(26, "EndTxn", 0, 5, 3, &END_TXN),
    r(27, "WriteTxnMarkers", 1, 2, 1, &WRITE_TXN_MARKERS),
    r(28, "TxnOffsetCommit", 0, 6, 3, &TXN_OFFSET_COMMIT),
    r(29, "DescribeAcls", 1, 3, 2, &DESCRIBE_ACLS),
    r(30, "CreateAcls", 1, 3, 2, &CREATE_ACLS),
    r(31, "DeleteAcls", 1, 3, 2, &DELETE_ACLS),
    r(32, "DescribeConfigs", 1, 4, 4, &DESCRIBE_CONFIGS),
    r(33, "AlterConfigs", 0, 2, 2, &ALTER_CONFIGS),
    r(34, "AlterReplicaLogDirs", 1, 2, 2, &ALTER_REPLICA_LOG_DIRS),
    r(35, "DescribeLogDirs", 1, 5, 2, &DESCRIBE_LOG_DIRS),
    r(36, "SaslAuthenticate", 0, 2, 2, &SASL_AUTHENTICATE),
    r(37, "CreatePartitions", 0, 3, 2, &CREATE_PARTITIONS),
    r(38, "CreateDelegationToken", 1, 3, 2, &CREATE_DELEGATION_TOKEN),
    r(39, "RenewDelegationToken", 1, 2, 2, &RENEW_DELEGATION_TOKEN),
    r(40, "ExpireDelegationToken", 1, 2, 2, &EXPIRE_DELEGATION_TOKEN),
    r(41, "DescribeDelegationToken", 1, 3, 2, &DESCRIBE_DELEGATION_TOKEN),
    r(42, "DeleteGroups", 0, 3, 2, &DELETE_GROUPS),
    r(43, "ElectLeaders", 0, 2, 2, &ELECT_LEADERS),
    r(44, "IncrementalAlterConfigs", 0, 1, 1, &INCREMENTAL_ALTER_CONFIGS),
    r(45, "AlterPartitionReassignments", 0, 1, 0, &ALTER_PARTITION_REASSIGNMENTS),
    r(46, "ListPartitionReassignments", 0, 0, 0, &LIST_PARTITION_REASSIGNMENTS),
    r(47, "OffsetDelete", 0, 0, M, &OFFSET_DELETE),
    r(48, "DescribeClientQuotas", 0, 1, 1, &DESCRIBE_CLIENT_QUOTAS),
    r(49, "AlterClientQuotas", 0, 1, 1, &ALTER_CLIENT_QUOTAS),
    r(50, "DescribeUserScramCredentials", 0, 0, 0, &DESCRIBE_USER_SCRAM_CREDENTIALS),
    r(51, "AlterUserScramCredentials", 0, 0, 0, &ALTER_USER_SCRAM_CREDENTIALS),
    r(52, "Vote", 0, 2, 0, &VOTE),
    r(53, "BeginQuorumEpoch", 0, 1, 1, &BEGIN_QUORUM_EPOCH),
    r(54, "EndQuorumEpoch", 0, 1, 1, &END_QUORUM_EPOCH),
    r(55, "DescribeQuorum", 0, 2, 0, &DESCRIBE_QUORUM),
    r(56, "AlterPartition", 2, 3, 0, &ALTER_PARTITION),
    r(57, "UpdateFeatures", 0, 2, 0, &UPDATE_FEATURES),
    r(58, "Envelope", 0, 0, 0, &ENVELOPE),
    r(59, "FetchSnapshot", 0, 1, 0, &FETCH_SNAPSHOT),
    r(60, "DescribeCluster", 0, 2, 0, &DESCRIBE_CLUSTER),
    r(61, "DescribeProducers", 0, 0, 0, &DESCRIBE_PRODUCERS),
    r(62, "BrokerRegistration", 0, 4, 0, &BROKER_REGISTRATION),
    r(63, "BrokerHeartbeat", 0, 2, 0, &BROKER_HEARTBEAT),
    r(64, "UnregisterBroker", 0, 0, 0, &UNREGISTER_BROKER),
    r(65, "DescribeTransactions", 0, 0, 0, &DESCRIBE_TRANSACTIONS),
    r(66, "ListTransactions", 0, 2, 0, &LIST_TRANSACTIONS),
    r(67, "AllocateProducerIds", 0, 0, 0, &ALLOCATE_PRODUCER_IDS),
    r(68, "ConsumerGroupHeartbeat", 0, 1, 0, &CONSUMER_GROUP_HEARTBEAT),
    r(69, "ConsumerGroupDescribe", 0, 1, 0, &CONSUMER_GROUP_DESCRIBE),
    r(70, "ControllerRegistration", 0, 0, 0, &CONTROLLER_REGISTRATION),
    r(71, "GetTelemetrySubscriptions", 0, 0, 0, &GET_TELEMETRY_SUBSCRIPTIONS),
    r(72, "PushTelemetry", 0, 0, 0, &PUSH_TELEMETRY),
    r(73, "AssignReplicasToDirs", 0, 0, 0, &ASSIGN_REPLICAS_TO_DIRS),
    r(74, "ListConfigResources", 0, 1, 0, &LIST_CONFIG_RESOURCES),
    r(75, "DescribeTopicPartitions", 0, 0, 0, &DESCRIBE_TOPIC_PARTITIONS),
    r(76, "ShareGroupHeartbeat", 1, 1, 0, &SHARE_GROUP_HEARTBEAT),
    r(77, "ShareGroupDescribe", 1, 1, 0, &SHARE_GROUP_DESCRIBE),
    r(78, "ShareFetch", 1, 2, 0, &SHARE_FETCH),
    r(79, "ShareAcknowledge", 1, 2, 0, &SHARE_ACKNOWLEDGE),
    r(80, "AddRaftVoter", 0, 1, 0, &ADD_RAFT_VOTER),
    r(81, "RemoveRaftVoter", 0, 0, 0, &REMOVE_RAFT_VOTER),
    r(82, "UpdateRaftVoter", 0, 0, 0, &UPDATE_RAFT_VOTER),
    r(83, "InitializeShareGroupState", 0, 0, 0, &INITIALIZE_SHARE_GROUP_STATE),
    r(84, "ReadShareGroupState", 0, 0, 0, &READ_SHARE_GROUP_STATE),
    r(85, "WriteShareGroupState", 0, 1, 0, &WRITE_SHARE_GROUP_STATE),
    r(86, "DeleteShareGroupState", 0, 0, 0, &DELETE_SHARE_GROUP_STATE),
    r(87, "ReadShareGroupStateSummary", 0, 1, 0, &READ_SHARE_GROUP_STATE_SUMMARY),
    r(88, "StreamsGroupHeartbeat", 0, 1, 0, &STREAMS_GROUP_HEARTBEAT),
    r(89, "StreamsGroupDescribe", 0, 1, 0, &STREAMS_GROUP_DESCRIBE),
    r(90, "DescribeShareGroupOffsets", 0, 1, 0, &DESCRIBE_SHARE_GROUP_OFFSETS),
    r(91, "AlterShareGroupOffsets", 0, 0, 0, &ALTER_SHARE_GROUP_OFFSETS),
    r(92, "DeleteShareGroupOffsets", 0, 0, 0, &DELETE_SHARE_GROUP_OFFSETS),
    r(93, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0, &STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE),
    r(94, "UnregisterController", 0, 0, 0, &UNREGISTER_CONTROLLER),
];
