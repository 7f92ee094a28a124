//! FindCoordinator (key 10, versions 0–6): who coordinates a group. Source: KIP-98, KIP-699.

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{Node, error::NONE, wire};

/// Key types of the protocol.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From this version on a request asks for many keys.
const BATCHED: i16 = 4;

/// Answers with this broker for groups; transactions are refused.
#[must_use]
pub fn handle(
    node: &Node,
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (code, message) = verdict(version, request.key_type);
    let (id, host, port) = match code {
        NONE => (node.id, node.host.clone(), node.port),
        _ => (BrokerId(-1), StrBytes::default(), -1),
    };
    if version < BATCHED {
        return FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_node_id(id)
            .with_host(host)
            .with_port(port);
    }
    let coordinator = |key: &StrBytes| {
        Coordinator::default()
            .with_key(key.clone())
            .with_error_code(code)
            .with_error_message(message.clone())
            .with_node_id(id)
            .with_host(host.clone())
            .with_port(port)
    };
    FindCoordinatorResponse::default()
        .with_coordinators(request.coordinator_keys.iter().map(coordinator).collect())
}

fn verdict(version: i16, key_type: i8) -> (i16, Option<StrBytes>) {
    let (error, message) = match key_type {
        GROUP => return (NONE, None),
        TRANSACTION => {
            // librdkafka asks in versions below 4 and takes only an authorization error as final; it
            // would ask on until its time is up. The Java client shows the message of any other.
            let error = if version < BATCHED {
                ResponseError::TransactionalIdAuthorizationFailed
            } else {
                ResponseError::UnsupportedVersion
            };
            (error, "Transactions are not supported by this broker.".to_owned())
        }
        other => (ResponseError::InvalidRequest, format!("Unknown coordinator key type {other}.")),
    };
    (error.code(), Some(wire(&message)))
}
