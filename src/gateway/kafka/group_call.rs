//! The group coordinator's answers, for the wire.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::{
    error::{ErrorCode, NONE},
    wire,
};
use crate::broker::group::GroupError;

pub(super) use crate::gateway::group_call::{ask, call, shown_host};

/// The code of a result.
pub(super) fn code<T>(result: &Result<T, GroupError>) -> i16 {
    result.as_ref().err().map_or(NONE, ErrorCode::code)
}

/// A name of the coordinator's for the wire, where there is one.
pub(super) fn wire_name(name: Option<&Arc<str>>) -> Option<StrBytes> {
    name.map(|name| wire(name))
}

/// Bytes of the coordinator's for the wire.
pub(super) fn wire_bytes(bytes: Arc<[u8]>) -> Bytes {
    if bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(bytes) }
}
