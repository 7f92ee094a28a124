//! How clients are told to reach this broker.

use kafka_protocol::{
    messages::{
        BrokerId, describe_cluster_response::DescribeClusterBroker,
        metadata_response::MetadataResponseBroker,
    },
    protocol::StrBytes,
};

/// This broker as clients see it: the only one, and the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: BrokerId,
    /// A name or address, IPv6 without brackets.
    pub host: StrBytes,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<StrBytes>,
}

impl Node {
    /// A node at `host` and `port`; an empty `rack` is none.
    #[must_use]
    pub fn new(id: i32, host: &str, port: u16, rack: &str) -> Self {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let rack = (!rack.is_empty()).then(|| text(rack));
        Self { id: BrokerId(id), host: text(host), port: i32::from(port), rack }
    }

    pub(super) fn for_metadata(&self) -> MetadataResponseBroker {
        MetadataResponseBroker::default()
            .with_node_id(self.id)
            .with_host(self.host.clone())
            .with_port(self.port)
            .with_rack(self.rack.clone())
    }

    pub(super) fn for_cluster(&self) -> DescribeClusterBroker {
        DescribeClusterBroker::default()
            .with_broker_id(self.id)
            .with_host(self.host.clone())
            .with_port(self.port)
            .with_rack(self.rack.clone())
    }
}
