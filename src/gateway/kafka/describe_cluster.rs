//! DescribeCluster (key 60, versions 0–2): the brokers. Source: KIP-700, KIP-919, KIP-1073.

use kafka_protocol::{
    ResponseError,
    messages::{DescribeClusterRequest, DescribeClusterResponse},
};

use super::{
    Node,
    rights::{ON_CLUSTER, told},
    wire,
};
use crate::cluster::ClusterState;

/// Endpoint types of the protocol.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers with this broker alone.
#[must_use]
pub fn handle(
    cluster: &ClusterState,
    node: &Node,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (error, message) = match request.endpoint_type {
        BROKERS => {
            return DescribeClusterResponse::default()
                .with_cluster_id(wire(cluster.cluster_id().map_or("", |id| id)))
                .with_controller_id(node.id)
                .with_cluster_authorized_operations(told(
                    request.include_cluster_authorized_operations,
                    ON_CLUSTER,
                ))
                .with_brokers(vec![node.for_cluster()]);
        }
        CONTROLLERS => (
            ResponseError::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
             CONTROLLER"
                .to_owned(),
        ),
        other => {
            (ResponseError::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))
        }
    };
    DescribeClusterResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(wire(&message)))
}
