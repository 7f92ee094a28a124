//! The layout of every request that the kafka-protocol crate decodes, as one table.
//!
//! It holds what the check in `counts` needs and no more: the order of the fields, the versions that
//! have them, where null is allowed, and what the crate allocates for an array's entry. The fields'
//! names are checked by the compiler against the crate's structs; all else by a test that has the
//! crate read and write back whatever the table makes up.

use kafka_protocol::messages::{
    alter_configs_request as alter, create_partitions_request as create_partitions,
    create_topics_request as create_topics, delete_records_request as delete_records,
    delete_topics_request as delete_topics, describe_configs_request as describe_configs,
    describe_log_dirs_request as log_dirs, describe_producers_request as producers,
    describe_topic_partitions_request as describe_topics,
    incremental_alter_configs_request as incremental, join_group_request as join,
    leave_group_request as leave, list_offsets_request as list_offsets,
    metadata_request as metadata, offset_commit_request as commit,
    offset_delete_request as offset_delete, offset_fetch_request as offset_fetch,
    offset_for_leader_epoch_request as epochs, sync_group_request as sync, *,
};

use super::request::ApiKey;

/// A struct's fields in the order they are sent.
#[derive(Debug)]
pub(super) struct Schema {
    /// What one takes in memory, without what it points to, bytes.
    pub(super) memory: usize,
    pub(super) fields: &'static [Field],
}

/// A field and the versions that have it.
#[derive(Debug)]
pub(super) struct Field {
    since: i16,
    until: i16,
    pub(super) kind: Kind,
}

impl Field {
    pub(super) const fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// How a field is sent. Null is refused unless it is [`Kind::OrNull`] or [`Kind::Maybe`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// As many bytes.
    Fixed(usize),
    /// A string.
    Text,
    /// Bytes.
    Blob,
    /// An array of strings.
    Texts,
    /// An array of 32-bit integers.
    Numbers,
    /// An array of structs.
    Array(&'static Schema),
    /// A struct behind a byte that tells whether it is there.
    Maybe(&'static Schema),
    /// A string, bytes or an array that may be null.
    OrNull(&'static Kind),
}

use Kind::{Array, Blob, Maybe, Numbers, OrNull, Text, Texts};

const BOOL: Kind = Kind::Fixed(1);
const I8: Kind = Kind::Fixed(1);
const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);

macro_rules! until {
    () => {
        i16::MAX
    };
    ($until:literal) => {
        $until
    };
}

/// `NAME: CrateStruct { field: Kind; field: Kind, since 3; field: Kind, since 1, until 4; }`
macro_rules! schemas {
    ($($name:ident: $type:ty {
        $($field:ident: $kind:expr $(, since $since:literal)? $(, until $until:literal)?;)*
    })*) => {
        $(
            static $name: Schema = Schema {
                memory: size_of::<$type>(),
                fields: &[$(Field {
                    since: 0 $(+ $since)?,
                    until: until!($($until)?),
                    kind: $kind,
                }),*],
            };
            const _: fn(&$type) = |message| {
                $(let _ = &message.$field;)*
            };
        )*
    };
}

/// The layout of the requests of `key`; `None` for those that are parsed by hand.
pub(super) const fn of(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::Produce | ApiKey::Fetch => return None,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
    })
}

schemas! {
    LIST_OFFSETS: ListOffsetsRequest {
        replica_id: I32;
        isolation_level: I8, since 2;
        topics: Array(&LIST_OFFSETS_TOPIC);
        timeout_ms: I32, since 10;
    }
    LIST_OFFSETS_TOPIC: list_offsets::ListOffsetsTopic {
        name: Text;
        partitions: Array(&LIST_OFFSETS_PARTITION);
    }
    LIST_OFFSETS_PARTITION: list_offsets::ListOffsetsPartition {
        partition_index: I32;
        current_leader_epoch: I32, since 4;
        timestamp: I64;
    }

    METADATA: MetadataRequest {
        topics: OrNull(&Array(&METADATA_TOPIC));
        allow_auto_topic_creation: BOOL, since 4;
        include_cluster_authorized_operations: BOOL, since 8, until 10;
        include_topic_authorized_operations: BOOL, since 8;
    }
    METADATA_TOPIC: metadata::MetadataRequestTopic {
        topic_id: UUID, since 10;
        name: OrNull(&Text);
    }

    OFFSET_COMMIT: OffsetCommitRequest {
        group_id: Text;
        generation_id_or_member_epoch: I32;
        member_id: Text;
        group_instance_id: OrNull(&Text), since 7;
        retention_time_ms: I64, until 4;
        topics: Array(&OFFSET_COMMIT_TOPIC);
    }
    OFFSET_COMMIT_TOPIC: commit::OffsetCommitRequestTopic {
        name: Text;
        partitions: Array(&OFFSET_COMMIT_PARTITION);
    }
    OFFSET_COMMIT_PARTITION: commit::OffsetCommitRequestPartition {
        partition_index: I32;
        committed_offset: I64;
        committed_leader_epoch: I32, since 6;
        committed_metadata: OrNull(&Text);
    }

    OFFSET_FETCH: OffsetFetchRequest {
        group_id: Text, until 7;
        topics: OrNull(&Array(&OFFSET_FETCH_TOPIC)), until 7;
        groups: Array(&OFFSET_FETCH_GROUP), since 8;
        require_stable: BOOL, since 7;
    }
    OFFSET_FETCH_TOPIC: offset_fetch::OffsetFetchRequestTopic {
        name: Text;
        partition_indexes: Numbers;
    }
    OFFSET_FETCH_GROUP: offset_fetch::OffsetFetchRequestGroup {
        group_id: Text;
        member_id: OrNull(&Text), since 9;
        member_epoch: I32, since 9;
        topics: OrNull(&Array(&OFFSET_FETCH_GROUP_TOPIC));
    }
    OFFSET_FETCH_GROUP_TOPIC: offset_fetch::OffsetFetchRequestTopics {
        name: Text;
        partition_indexes: Numbers;
    }

    FIND_COORDINATOR: FindCoordinatorRequest {
        key: Text, until 3;
        key_type: I8, since 1;
        coordinator_keys: Texts, since 4;
    }

    JOIN_GROUP: JoinGroupRequest {
        group_id: Text;
        session_timeout_ms: I32;
        rebalance_timeout_ms: I32, since 1;
        member_id: Text;
        group_instance_id: OrNull(&Text), since 5;
        protocol_type: Text;
        protocols: Array(&JOIN_GROUP_PROTOCOL);
        reason: OrNull(&Text), since 8;
    }
    JOIN_GROUP_PROTOCOL: join::JoinGroupRequestProtocol {
        name: Text;
        metadata: Blob;
    }

    HEARTBEAT: HeartbeatRequest {
        group_id: Text;
        generation_id: I32;
        member_id: Text;
        group_instance_id: OrNull(&Text), since 3;
    }

    LEAVE_GROUP: LeaveGroupRequest {
        group_id: Text;
        member_id: Text, until 2;
        members: Array(&LEAVE_GROUP_MEMBER), since 3;
    }
    LEAVE_GROUP_MEMBER: leave::MemberIdentity {
        member_id: Text;
        group_instance_id: OrNull(&Text);
        reason: OrNull(&Text), since 5;
    }

    SYNC_GROUP: SyncGroupRequest {
        group_id: Text;
        generation_id: I32;
        member_id: Text;
        group_instance_id: OrNull(&Text), since 3;
        protocol_type: OrNull(&Text), since 5;
        protocol_name: OrNull(&Text), since 5;
        assignments: Array(&SYNC_GROUP_ASSIGNMENT);
    }
    SYNC_GROUP_ASSIGNMENT: sync::SyncGroupRequestAssignment {
        member_id: Text;
        assignment: Blob;
    }

    DESCRIBE_GROUPS: DescribeGroupsRequest {
        groups: Texts;
        include_authorized_operations: BOOL, since 3;
    }

    LIST_GROUPS: ListGroupsRequest {
        states_filter: Texts, since 4;
        types_filter: Texts, since 5;
    }

    API_VERSIONS: ApiVersionsRequest {
        client_software_name: Text, since 3;
        client_software_version: Text, since 3;
    }

    CREATE_TOPICS: CreateTopicsRequest {
        topics: Array(&CREATE_TOPICS_TOPIC);
        timeout_ms: I32;
        validate_only: BOOL;
    }
    CREATE_TOPICS_TOPIC: create_topics::CreatableTopic {
        name: Text;
        num_partitions: I32;
        replication_factor: I16;
        assignments: Array(&CREATE_TOPICS_ASSIGNMENT);
        configs: Array(&CREATE_TOPICS_CONFIG);
    }
    CREATE_TOPICS_ASSIGNMENT: create_topics::CreatableReplicaAssignment {
        partition_index: I32;
        broker_ids: Numbers;
    }
    CREATE_TOPICS_CONFIG: create_topics::CreatableTopicConfig {
        name: Text;
        value: OrNull(&Text);
    }

    DELETE_TOPICS: DeleteTopicsRequest {
        topics: Array(&DELETE_TOPICS_TOPIC), since 6;
        topic_names: Texts, until 5;
        timeout_ms: I32;
    }
    DELETE_TOPICS_TOPIC: delete_topics::DeleteTopicState {
        name: OrNull(&Text);
        topic_id: UUID;
    }

    DELETE_RECORDS: DeleteRecordsRequest {
        topics: Array(&DELETE_RECORDS_TOPIC);
        timeout_ms: I32;
    }
    DELETE_RECORDS_TOPIC: delete_records::DeleteRecordsTopic {
        name: Text;
        partitions: Array(&DELETE_RECORDS_PARTITION);
    }
    DELETE_RECORDS_PARTITION: delete_records::DeleteRecordsPartition {
        partition_index: I32;
        offset: I64;
    }

    INIT_PRODUCER_ID: InitProducerIdRequest {
        transactional_id: OrNull(&Text);
        transaction_timeout_ms: I32;
        producer_id: I64, since 3;
        producer_epoch: I16, since 3;
    }

    OFFSET_FOR_LEADER_EPOCH: OffsetForLeaderEpochRequest {
        replica_id: I32, since 3;
        topics: Array(&OFFSET_FOR_LEADER_EPOCH_TOPIC);
    }
    OFFSET_FOR_LEADER_EPOCH_TOPIC: epochs::OffsetForLeaderTopic {
        topic: Text;
        partitions: Array(&OFFSET_FOR_LEADER_EPOCH_PARTITION);
    }
    OFFSET_FOR_LEADER_EPOCH_PARTITION: epochs::OffsetForLeaderPartition {
        partition: I32;
        current_leader_epoch: I32;
        leader_epoch: I32;
    }

    DESCRIBE_CONFIGS: DescribeConfigsRequest {
        resources: Array(&DESCRIBE_CONFIGS_RESOURCE);
        include_synonyms: BOOL;
        include_documentation: BOOL, since 3;
    }
    DESCRIBE_CONFIGS_RESOURCE: describe_configs::DescribeConfigsResource {
        resource_type: I8;
        resource_name: Text;
        configuration_keys: OrNull(&Texts);
    }

    ALTER_CONFIGS: AlterConfigsRequest {
        resources: Array(&ALTER_CONFIGS_RESOURCE);
        validate_only: BOOL;
    }
    ALTER_CONFIGS_RESOURCE: alter::AlterConfigsResource {
        resource_type: I8;
        resource_name: Text;
        configs: Array(&ALTER_CONFIGS_CONFIG);
    }
    ALTER_CONFIGS_CONFIG: alter::AlterableConfig {
        name: Text;
        value: OrNull(&Text);
    }

    DESCRIBE_LOG_DIRS: DescribeLogDirsRequest {
        topics: OrNull(&Array(&DESCRIBE_LOG_DIRS_TOPIC));
    }
    DESCRIBE_LOG_DIRS_TOPIC: log_dirs::DescribableLogDirTopic {
        topic: Text;
        partitions: Numbers;
    }

    CREATE_PARTITIONS: CreatePartitionsRequest {
        topics: Array(&CREATE_PARTITIONS_TOPIC);
        timeout_ms: I32;
        validate_only: BOOL;
    }
    CREATE_PARTITIONS_TOPIC: create_partitions::CreatePartitionsTopic {
        name: Text;
        count: I32;
        assignments: OrNull(&Array(&CREATE_PARTITIONS_ASSIGNMENT));
    }
    CREATE_PARTITIONS_ASSIGNMENT: create_partitions::CreatePartitionsAssignment {
        broker_ids: Numbers;
    }

    DELETE_GROUPS: DeleteGroupsRequest {
        groups_names: Texts;
    }

    INCREMENTAL_ALTER_CONFIGS: IncrementalAlterConfigsRequest {
        resources: Array(&INCREMENTAL_ALTER_CONFIGS_RESOURCE);
        validate_only: BOOL;
    }
    INCREMENTAL_ALTER_CONFIGS_RESOURCE: incremental::AlterConfigsResource {
        resource_type: I8;
        resource_name: Text;
        configs: Array(&INCREMENTAL_ALTER_CONFIGS_CONFIG);
    }
    INCREMENTAL_ALTER_CONFIGS_CONFIG: incremental::AlterableConfig {
        name: Text;
        config_operation: I8;
        value: OrNull(&Text);
    }

    OFFSET_DELETE: OffsetDeleteRequest {
        group_id: Text;
        topics: Array(&OFFSET_DELETE_TOPIC);
    }
    OFFSET_DELETE_TOPIC: offset_delete::OffsetDeleteRequestTopic {
        name: Text;
        partitions: Array(&OFFSET_DELETE_PARTITION);
    }
    OFFSET_DELETE_PARTITION: offset_delete::OffsetDeleteRequestPartition {
        partition_index: I32;
    }

    DESCRIBE_CLUSTER: DescribeClusterRequest {
        include_cluster_authorized_operations: BOOL;
        endpoint_type: I8, since 1;
        include_fenced_brokers: BOOL, since 2;
    }

    DESCRIBE_PRODUCERS: DescribeProducersRequest {
        topics: Array(&DESCRIBE_PRODUCERS_TOPIC);
    }
    DESCRIBE_PRODUCERS_TOPIC: producers::TopicRequest {
        name: Text;
        partition_indexes: Numbers;
    }

    DESCRIBE_TOPIC_PARTITIONS: DescribeTopicPartitionsRequest {
        topics: Array(&DESCRIBE_TOPIC_PARTITIONS_TOPIC);
        response_partition_limit: I32;
        cursor: Maybe(&DESCRIBE_TOPIC_PARTITIONS_CURSOR);
    }
    DESCRIBE_TOPIC_PARTITIONS_TOPIC: describe_topics::TopicRequest {
        name: Text;
    }
    DESCRIBE_TOPIC_PARTITIONS_CURSOR: describe_topics::Cursor {
        topic_name: Text;
        partition_index: I32;
    }
}
