//! What a client may do, as bit fields: bit n for the operation of code n. Sources: KIP-430,
//! `AclOperation` (codes), `AclEntry.supportedOperations` of Kafka 4.
//!
//! Nobody is authorized, so that everybody may do all that a kind of resource knows, as with Kafka
//! without an authorizer.

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// On a topic.
pub(super) const ON_TOPIC: i32 =
    READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// On a group.
pub(super) const ON_GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// On the cluster.
pub(super) const ON_CLUSTER: i32 = CREATE
    | ALTER
    | DESCRIBE
    | CLUSTER_ACTION
    | DESCRIBE_CONFIGS
    | ALTER_CONFIGS
    | IDEMPOTENT_WRITE;

/// Where nobody asked.
pub(super) const NOT_TOLD: i32 = i32::MIN;

/// `rights` if they are asked for.
pub(super) const fn told(asked: bool, rights: i32) -> i32 {
    if asked { rights } else { NOT_TOLD }
}
