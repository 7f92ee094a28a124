//! The table against the kafka-protocol crate: what the table makes up, the crate must read to the
//! last byte and write back as it was.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages as crate_messages;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;
use proptest::test_runner::TestRng;

use super::*;
use crate::wire::kafka::codec::{put_length, put_null, put_string, put_unsigned};
use crate::wire::kafka::message::decode;

fn below(rng: &mut TestRng, limit: usize) -> usize {
    rng.next_u32() as usize % limit
}

/// Makes up bodies by the table.
struct Maker<'a> {
    out: BytesMut,
    version: i16,
    flexible: bool,
    /// Whether null may also stand where it is not allowed.
    careless: bool,
    rng: &'a mut TestRng,
}

impl Maker<'_> {
    fn schema(&mut self, schema: &Schema) {
        let version = self.version;
        for field in schema.fields.iter().filter(|field| field.is_in(version)) {
            self.value(field.kind);
        }
        if self.flexible {
            let tagged = below(self.rng, 8).saturating_sub(6) as u64;
            put_unsigned(&mut self.out, tagged);
            for tag in 0..tagged {
                put_unsigned(&mut self.out, 1000 + tag);
                put_unsigned(&mut self.out, 30);
                self.out.put_bytes(b'x', 30);
            }
        }
    }

    fn value(&mut self, kind: Kind) {
        let kind = match kind {
            Kind::OrNull(kind) if below(self.rng, 3) == 0 => return self.null(*kind),
            Kind::OrNull(kind) => *kind,
            Kind::Fixed(_) | Kind::Maybe(_) => kind,
            _ if self.careless && below(self.rng, 20) == 0 => return self.null(kind),
            _ => kind,
        };
        match kind {
            Kind::OrNull(_) => unreachable!("null twice"),
            Kind::Fixed(1) => self.out.put_u8(below(self.rng, 2) as u8),
            Kind::Fixed(bytes) => self.out.extend((0..bytes).map(|_| self.rng.next_u32() as u8)),
            Kind::Text => self.text(),
            Kind::Blob => {
                let length = self.length(200);
                self.out.put_bytes(7, length);
            }
            Kind::Maybe(schema) => {
                let present = below(self.rng, 2) == 0;
                self.out.put_i8(if present { 1 } else { -1 });
                if present {
                    self.schema(schema);
                }
            }
            Kind::Numbers => (0..self.length(4)).for_each(|n| self.out.put_i32(-(n as i32))),
            Kind::Texts => (0..self.length(4)).for_each(|_| self.text()),
            Kind::Array(entry) => (0..self.length(4)).for_each(|_| self.schema(entry)),
        }
    }

    fn null(&mut self, kind: Kind) {
        match kind {
            Kind::Text => put_string(&mut self.out, self.flexible, None).unwrap(),
            _ => put_null(&mut self.out, self.flexible),
        }
    }

    fn text(&mut self) {
        let text = &"ä text"[..below(self.rng, 5) + 2];
        put_string(&mut self.out, self.flexible, Some(text)).unwrap();
    }

    fn length(&mut self, limit: usize) -> usize {
        let length = below(self.rng, limit);
        put_length(&mut self.out, self.flexible, length).unwrap();
        length
    }
}

/// What the crate writes for what it read, without the check.
fn round<T: Decodable + Encodable>(version: i16, mut body: Bytes) -> Option<Bytes> {
    let message = T::decode(&mut body, version).ok()?;
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    Some(out.freeze())
}

macro_rules! round_trips {
    ($key:expr, $version:expr, $body:expr; $($name:ident $request:ident),* $(,)?) => {
        match $key {
            $(ApiKey::$name => round::<crate_messages::$request>($version, $body),)*
            ApiKey::Produce | ApiKey::Fetch => unreachable!("parsed by hand"),
        }
    };
}

fn round_trip(key: ApiKey, version: i16, body: Bytes) -> Option<Bytes> {
    round_trips!(key, version, body;
        ListOffsets ListOffsetsRequest, Metadata MetadataRequest,
        OffsetCommit OffsetCommitRequest, OffsetFetch OffsetFetchRequest,
        FindCoordinator FindCoordinatorRequest, JoinGroup JoinGroupRequest,
        Heartbeat HeartbeatRequest, LeaveGroup LeaveGroupRequest, SyncGroup SyncGroupRequest,
        DescribeGroups DescribeGroupsRequest, ListGroups ListGroupsRequest,
        ApiVersions ApiVersionsRequest, CreateTopics CreateTopicsRequest,
        DeleteTopics DeleteTopicsRequest, DeleteRecords DeleteRecordsRequest,
        InitProducerId InitProducerIdRequest,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
        DescribeConfigs DescribeConfigsRequest, AlterConfigs AlterConfigsRequest,
        DescribeLogDirs DescribeLogDirsRequest, CreatePartitions CreatePartitionsRequest,
        DeleteGroups DeleteGroupsRequest,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest,
        OffsetDelete OffsetDeleteRequest, DescribeCluster DescribeClusterRequest,
        DescribeProducers DescribeProducersRequest,
        DescribeTopicPartitions DescribeTopicPartitionsRequest,
    )
}

/// Every version of every API in the table.
fn all() -> Vec<(ApiKey, i16)> {
    let keys = ApiKey::ALL.iter().filter(|&&key| schema::of(key).is_some());
    keys.flat_map(|&key| {
        let (min, max) = key.advertised();
        (min..=max).map(move |version| (key, version))
    })
    .collect()
}

fn request(key: ApiKey, version: i16, careless: bool, rng: &mut TestRng) -> Bytes {
    let flexible = key.is_flexible(version);
    let mut maker = Maker { out: BytesMut::new(), version, flexible, careless, rng };
    maker.schema(schema::of(key).unwrap());
    maker.out.freeze()
}

fn any_request() -> impl Strategy<Value = (ApiKey, i16, Bytes)> {
    prop::sample::select(all()).prop_perturb(|(key, version), mut rng| {
        let body = request(key, version, false, &mut rng);
        (key, version, body)
    })
}

/// Checks a body; if it passes, the crate must take it, and so cannot have allocated for nothing.
fn survive(key: ApiKey, version: i16, body: &[u8]) -> bool {
    let passed = check(key, version, body).is_ok();
    let body = Bytes::copy_from_slice(body);
    assert!(!passed || round_trip(key, version, body).is_some(), "{key:?} {version}");
    passed
}

proptest! {
    #[test]
    fn the_crate_reads_what_the_table_says(mut rng in Just(()).prop_perturb(|(), rng| rng)) {
        for (key, version) in all() {
            let body = request(key, version, false, &mut rng);
            prop_assert_eq!(check(key, version, &body), Ok(()), "{:?} {}", key, version);
            let written = round_trip(key, version, body.clone());
            prop_assert_eq!(written, Some(body), "{:?} {}", key, version);
        }
    }

    #[test]
    fn nulls_pass_where_the_crate_takes_them(mut rng in Just(()).prop_perturb(|(), rng| rng)) {
        for (key, version) in all() {
            let body = request(key, version, true, &mut rng);
            let passed = check(key, version, &body).is_ok();
            prop_assert_eq!(passed, round_trip(key, version, body).is_some(), "{:?} {}", key, version);
        }
    }

    #[test]
    fn broken_requests_are_survived(
        (key, version, body) in any_request(),
        at in any::<prop::sample::Index>(),
        bytes in any::<[u8; 4]>(),
    ) {
        prop_assume!(!body.is_empty());
        let at = at.index(body.len());
        prop_assert!(!survive(key, version, &body[..at]));
        for bytes in [bytes, [0x7f, 0xff, 0xff, 0xff], [0xff; 4]] {
            let mut mutated = body.to_vec();
            mutated.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = byte);
            survive(key, version, &mutated);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        (key, version) in prop::sample::select(all()),
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..200),
    ) {
        survive(key, version, &body);
    }
}

#[test]
fn a_metadata_request_of_two_billion_topics_is_refused() {
    let refused = WireError::Count { count: i32::MAX as usize, each: 2, left: 1 };
    assert_eq!(check(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff, 0]), Err(refused));
    let refused = WireError::Count { count: u32::MAX as usize - 1, each: 2, left: 3 };
    let body = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    assert_eq!(check(ApiKey::Metadata, 9, &body), Err(refused));
}

#[test]
fn tagged_fields_that_outgrow_the_frame_are_refused() {
    // A thousand topics with an empty name and one empty tagged field each: four bytes that the
    // crate would turn into some 480.
    let mut body = vec![0xe9, 0x07];
    (0..1000).for_each(|_| body.extend([1, 1, 0, 0]));
    body.extend([0, 0, 0, 0]);
    assert!(matches!(check(ApiKey::Metadata, 9, &body), Err(WireError::Memory { .. })));
    // One such field is no attack.
    check(ApiKey::Metadata, 9, &[2, 1, 1, 0, 0, 0, 0, 0, 0]).unwrap();
}

#[test]
fn what_one_request_may_take_is_bounded() {
    let topics_of = |bytes: usize| {
        let count = u32::try_from(bytes / 2).unwrap();
        [&count.to_be_bytes()[..], &vec![0; bytes]].concat()
    };
    let entry = size_of::<crate_messages::metadata_request::MetadataRequestTopic>();
    let fits = MEMORY_MAX / entry * 2;
    check(ApiKey::Metadata, 1, &topics_of(fits)).unwrap();
    let refused = check(ApiKey::Metadata, 1, &topics_of(fits + 2));
    assert!(matches!(refused, Err(WireError::Memory { allowed: MEMORY_MAX, .. })), "{refused:?}");
}

#[test]
fn no_entry_outweighs_its_bytes() {
    fn entries(schema: &'static Schema, check: &mut impl FnMut(&'static Schema)) {
        for field in schema.fields {
            if let Kind::Array(entry) = field.kind {
                check(entry);
                entries(entry, check);
            }
        }
    }
    for (key, version) in all() {
        entries(schema::of(key).unwrap(), &mut |entry| {
            let bytes = bytes_min(entry, version, key.is_flexible(version));
            assert!(entry.memory <= MEMORY_PER_BYTE * bytes, "{key:?} {version}");
        });
    }
}

#[test]
fn decoding_is_behind_the_check() {
    let topics = decode::<crate_messages::MetadataRequest>(
        ApiKey::Metadata,
        1,
        Bytes::from_static(&[0, 0, 0, 1, 0, 1, b't']),
    );
    assert_eq!(topics.unwrap().topics.unwrap().len(), 1);
    let refused = decode::<crate_messages::MetadataRequest>(
        ApiKey::Metadata,
        1,
        Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]),
    );
    assert!(matches!(refused, Err(WireError::Count { .. })));
    // The crate's own error: a body of another API.
    let newer = decode::<crate_messages::OffsetDeleteRequest>(
        ApiKey::DescribeCluster,
        1,
        Bytes::from_static(&[0, 0, 0]),
    );
    assert!(matches!(newer, Err(WireError::Schema(_))));
}
