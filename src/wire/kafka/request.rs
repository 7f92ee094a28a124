//! A request's header, and the table of the APIs this broker serves.

use super::codec::Reader;
use crate::wire::WireError;

/// Declares each API once: key, name, versions it advertises, first flexible version.
macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $min:literal..=$max:literal, flexible $flexible:expr;)*) => {
        /// An API that this broker serves, with its number in Kafka's protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($(#[$doc])* $name = $key,)*
        }

        impl ApiKey {
            /// All APIs, in the order of their keys.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The API with the number `key`.
            #[must_use]
            pub const fn from_code(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Lowest and highest version in ApiVersions' answer.
            ///
            /// Produce advertises 0 though it serves from 3 on ([`ApiKey::serves`]): librdkafka before
            /// 2.11.1 switches compression off otherwise (KAFKA-18659).
            #[must_use]
            pub const fn advertised(self) -> (i16, i16) {
                match self {
                    $(Self::$name => ($min, $max),)*
                }
            }

            /// The first version with compact types and tagged fields (KIP-482).
            const fn flexible_since(self) -> Option<i16> {
                match self {
                    $(Self::$name => $flexible,)*
                }
            }
        }
    };
}

apis! {
    /// Appends record batches.
    Produce = 0, 0..=13, flexible Some(9);
    /// Reads record batches.
    Fetch = 1, 4..=17, flexible Some(12);
    /// Finds offsets by time.
    ListOffsets = 2, 1..=10, flexible Some(6);
    /// Tells topics, partitions and their leaders.
    Metadata = 3, 0..=13, flexible Some(9);
    /// Stores a group's offsets.
    OffsetCommit = 8, 2..=9, flexible Some(8);
    /// Tells a group's offsets.
    OffsetFetch = 9, 1..=9, flexible Some(6);
    /// Tells a group's or a transactional id's coordinator.
    FindCoordinator = 10, 0..=6, flexible Some(3);
    /// Joins a group.
    JoinGroup = 11, 0..=9, flexible Some(6);
    /// Keeps a member in its group.
    Heartbeat = 12, 0..=4, flexible Some(4);
    /// Leaves a group.
    LeaveGroup = 13, 0..=5, flexible Some(4);
    /// Hands out a group's assignment.
    SyncGroup = 14, 0..=5, flexible Some(4);
    /// Describes groups.
    DescribeGroups = 15, 0..=6, flexible Some(5);
    /// Lists groups.
    ListGroups = 16, 0..=5, flexible Some(3);
    /// Tells the versions served (KIP-35, KIP-511).
    ApiVersions = 18, 0..=4, flexible Some(3);
    /// Creates topics.
    CreateTopics = 19, 2..=7, flexible Some(5);
    /// Deletes topics.
    DeleteTopics = 20, 1..=6, flexible Some(4);
    /// Moves a partition's log start.
    DeleteRecords = 21, 0..=2, flexible Some(2);
    /// Gives a producer its id and epoch (KIP-98).
    InitProducerId = 22, 0..=5, flexible Some(2);
    /// Finds where a leader epoch ended (KIP-101).
    OffsetForLeaderEpoch = 23, 2..=4, flexible Some(4);
    /// Describes configs.
    DescribeConfigs = 32, 1..=4, flexible Some(4);
    /// Replaces configs.
    AlterConfigs = 33, 0..=2, flexible Some(2);
    /// Describes the log's directories.
    DescribeLogDirs = 35, 1..=4, flexible Some(2);
    /// Adds partitions to topics.
    CreatePartitions = 37, 0..=3, flexible Some(2);
    /// Deletes groups.
    DeleteGroups = 42, 0..=2, flexible Some(2);
    /// Changes single configs (KIP-339).
    IncrementalAlterConfigs = 44, 0..=1, flexible Some(1);
    /// Deletes a group's offsets (KIP-496).
    OffsetDelete = 47, 0..=0, flexible None;
    /// Describes the cluster (KIP-700).
    DescribeCluster = 60, 0..=2, flexible Some(0);
    /// Describes a partition's producers (KIP-664).
    DescribeProducers = 61, 0..=0, flexible Some(0);
    /// Describes topics' partitions, page by page (KIP-966).
    DescribeTopicPartitions = 75, 0..=0, flexible Some(0);
}

impl ApiKey {
    /// The API's number.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether requests of `version` are understood.
    #[must_use]
    pub const fn serves(self, version: i16) -> bool {
        let (min, max) = self.advertised();
        let min = if matches!(self, Self::Produce) { 3 } else { min };
        min <= version && version <= max
    }

    /// Whether `version` uses compact types and tagged fields (KIP-482). Its requests then have
    /// header version 2, the others 1.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.flexible_since() {
            Some(first) => version >= first,
            None => false,
        }
    }

    /// Whether the response's header ends with tagged fields (header version 1). ApiVersions' never
    /// does, so that a client can read it before it knows the broker (KIP-511).
    #[must_use]
    pub const fn has_flexible_response_header(self, version: i16) -> bool {
        !matches!(self, Self::ApiVersions) && self.is_flexible(version)
    }
}

/// The size of a frame by the four bytes before it; `max_bytes` is the most that is allowed (Kafka's
/// `socket.request.max.bytes`).
///
/// # Errors
/// [`WireError::FrameLength`]; Kafka closes the connection.
pub fn frame_bytes(prefix: [u8; 4], max_bytes: usize) -> Result<usize, WireError> {
    let claimed = i32::from_be_bytes(prefix);
    usize::try_from(claimed)
        .ok()
        .filter(|&bytes| bytes <= max_bytes)
        .ok_or(WireError::FrameLength { claimed, max_bytes })
}

/// A request's header and the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API.
    pub key: ApiKey,
    /// The API's version; not checked yet, see [`RequestHeader::check_version`].
    pub version: i16,
    /// The client's number for this request; the answer repeats it.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// Everything behind the header.
    pub body: &'a [u8],
}

impl<'a> RequestHeader<'a> {
    /// Parses a frame without its length prefix.
    ///
    /// # Errors
    /// [`WireError::UnknownApi`] for a key not in the table; other errors for a broken header. Kafka
    /// closes the connection in both cases.
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        let code = reader.i16()?;
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let key = ApiKey::from_code(code).ok_or(WireError::UnknownApi(code))?;
        // The client id kept its old form in header version 2.
        let client_id = reader.nullable_string(false)?;
        reader.skip_tagged_fields(key.is_flexible(version))?;
        Ok(Self { key, version, correlation_id, client_id, body: reader.rest() })
    }

    /// Checks that the version is served.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`]. Kafka answers it for ApiVersions, in version 0 with error
    /// 35 (KIP-511), and closes the connection otherwise.
    pub const fn check_version(&self) -> Result<(), WireError> {
        if self.key.serves(self.version) {
            Ok(())
        } else {
            Err(WireError::UnsupportedVersion { key: self.key.code(), version: self.version })
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::{self, RequestHeader as CrateHeader};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flexible_versions_are_kafkas() {
        for &key in ApiKey::ALL {
            let theirs = messages::ApiKey::try_from(key.code()).expect("known to the crate");
            assert_eq!(format!("{key:?}"), format!("{theirs:?}"));
            let (min, max) = key.advertised();
            for version in min..=max {
                let request = if key.is_flexible(version) { 2 } else { 1 };
                assert_eq!(request, theirs.request_header_version(version), "{key:?} {version}");
                let response = i16::from(key.has_flexible_response_header(version));
                assert_eq!(response, theirs.response_header_version(version), "{key:?} {version}");
                if key.serves(version) {
                    let theirs = theirs.valid_versions();
                    assert!(theirs.min <= version && version <= theirs.max);
                }
            }
        }
    }

    #[test]
    fn a_frame_has_a_limit() {
        assert_eq!(frame_bytes([0, 0, 1, 0], 256), Ok(256));
        for (prefix, claimed) in [([0, 0, 1, 1], 257), ([0xff; 4], -1)] {
            let refused = WireError::FrameLength { claimed, max_bytes: 256 };
            assert_eq!(frame_bytes(prefix, 256), Err(refused));
        }
    }

    #[test]
    fn old_produce_is_advertised_but_not_served() {
        assert_eq!(ApiKey::Produce.advertised(), (0, 13));
        assert!(!ApiKey::Produce.serves(2) && ApiKey::Produce.serves(3));
    }

    #[test]
    fn a_newer_api_versions_request_still_has_its_correlation_id() {
        let frame = [0, 18, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 0, 1, 2, 3];
        let header = RequestHeader::parse(&frame).unwrap();
        assert_eq!((header.correlation_id, header.client_id), (7, None));
        let refused = WireError::UnsupportedVersion { key: 18, version: 9 };
        assert_eq!(header.check_version(), Err(refused));
    }

    proptest! {
        #[test]
        fn headers_of_the_crate_are_read(
            key in prop::sample::select(ApiKey::ALL),
            step in any::<prop::sample::Index>(),
            correlation_id in any::<i32>(),
            client_id in prop::option::of("[a-z]{0,20}"),
        ) {
            let (min, max) = key.advertised();
            let version = min + step.index((max - min + 1) as usize) as i16;
            let header = CrateHeader::default()
                .with_request_api_key(key.code())
                .with_request_api_version(version)
                .with_correlation_id(correlation_id)
                .with_client_id(client_id.clone().map(StrBytes::from_string));
            let mut frame = BytesMut::new();
            header.encode(&mut frame, if key.is_flexible(version) { 2 } else { 1 }).unwrap();
            frame.extend_from_slice(b"body");
            let client_id = client_id.as_deref();
            let expected = RequestHeader { key, version, correlation_id, client_id, body: b"body" };
            prop_assert_eq!(RequestHeader::parse(&frame), Ok(expected));
        }

        #[test]
        fn any_bytes_are_survived(frame in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = RequestHeader::parse(&frame);
        }
    }
}
