//! Requests and responses of all APIs but Produce and Fetch, as the kafka-protocol crate's structs.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::counts;
use super::request::ApiKey;
use crate::wire::{WireError, frame::framed};

/// Decodes a request's body ([`RequestHeader::body`](super::RequestHeader::body)). Strings and bytes
/// in `T` borrow from `body` by reference count. Bytes behind the request are tolerated, as Kafka
/// does.
///
/// # Errors
/// A version that is not served, or a body that does not follow the schema of `key` at `version`.
/// Every count and length is checked against the bytes received before anything is allocated.
pub fn decode<T: Decodable>(key: ApiKey, version: i16, mut body: Bytes) -> Result<T, WireError> {
    counts::check(key, version, &body)?;
    T::decode(&mut body, version).map_err(|error| WireError::Schema(error.to_string()))
}

/// Encodes an answer with its length prefix and header.
///
/// # Errors
/// [`WireError::Encode`] if `response` has a field set that `version` cannot express, or is longer
/// than a frame can be.
pub fn encode_response<T: Encodable>(
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    response: &T,
) -> Result<Bytes, WireError> {
    let encode_error = |error: &dyn std::fmt::Display| WireError::Encode(error.to_string());
    let size = response.compute_size(version).map_err(|error| encode_error(&error))?;
    let mut out = BytesMut::with_capacity(size + 9);
    framed(&mut out, |out| {
        put_response_header(out, correlation_id, key, version);
        response.encode(out, version).map_err(|error| encode_error(&error))?;
        Ok(((), 0))
    })?;
    Ok(out.freeze())
}

/// Writes a response's header.
pub(super) fn put_response_header(
    out: &mut BytesMut,
    correlation_id: i32,
    key: ApiKey,
    version: i16,
) {
    out.put_i32(correlation_id);
    if key.has_flexible_response_header(version) {
        out.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::{
        ApiVersionsResponse, HeartbeatResponse, MetadataResponse, ResponseHeader,
    };
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn answers_have_length_and_header() {
        for (version, header_version) in [(1, 0), (8, 0), (9, 1), (13, 1)] {
            let cluster_id = (version >= 2).then(|| StrBytes::from_static_str("c"));
            let response = MetadataResponse::default().with_cluster_id(cluster_id);
            let mut frame = encode_response(77, ApiKey::Metadata, version, &response).unwrap();
            assert_eq!(frame.get_i32() as usize, frame.len());
            let header = ResponseHeader::decode(&mut frame, header_version).unwrap();
            assert_eq!(header.correlation_id, 77);
            assert_eq!(MetadataResponse::decode(&mut frame, version).unwrap(), response);
            assert!(frame.is_empty());
        }
    }

    #[test]
    fn api_versions_never_has_a_flexible_header() {
        let response = ApiVersionsResponse::default();
        let frame = encode_response(1, ApiKey::ApiVersions, 3, &response).unwrap();
        // Length, correlation id, error, no keys, throttle time, no tagged fields.
        assert_eq!(frame[..], [0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_a_version_cannot_express_is_an_error() {
        let unknown = HeartbeatResponse::default();
        let refused = encode_response(1, ApiKey::Heartbeat, 99, &unknown);
        assert!(matches!(refused, Err(WireError::Encode(_))));
    }
}
