//! Records both ways, what a broker sets in them, and bytes that are none.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn host() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

#[derive(Clone, Debug)]
struct Owned {
    numbers: [i32; 4],
    longs: [i64; 5],
    hosts: [SocketAddr; 2],
    body: Vec<u8>,
    topic: String,
    properties: String,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        let [queue_id, flag, sys_flag, reconsume_times] = self.numbers;
        let [queue_offset, physical_offset, born_timestamp, store_timestamp, prepared] = self.longs;
        Record {
            version: RecordVersion::of_topic(&self.topic),
            body_crc: body_crc(&self.body),
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag: SysFlag(sys_flag)
                .with(SysFlag::BORN_HOST_V6, self.hosts[0].is_ipv6())
                .with(SysFlag::STORE_HOST_V6, self.hosts[1].is_ipv6()),
            born_timestamp,
            born_host: self.hosts[0],
            store_timestamp,
            store_host: self.hosts[1],
            reconsume_times,
            prepared_transaction_offset: prepared,
            body: &self.body,
            topic: &self.topic,
            properties: &self.properties,
        }
    }
}

prop_compose! {
    fn owned()(
        numbers in any::<[i32; 4]>(),
        longs in any::<[i64; 5]>(),
        hosts in [host(), host()],
        body in vec(any::<u8>(), 0..40),
        topic in prop_oneof!["\\PC{0,10}", "t{127,200}"],
        properties in "[a-c\u{1}\u{2}é]{0,20}",
    ) -> Owned {
        Owned { numbers, longs, hosts, body, topic, properties }
    }
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    bytes
}

fn plain() -> Owned {
    let host = "127.0.0.1:10911".parse().unwrap();
    let (body, topic) = (b"body".to_vec(), "t".to_owned());
    Owned {
        numbers: [0; 4],
        longs: [0; 5],
        hosts: [host; 2],
        body,
        topic,
        properties: String::new(),
    }
}

#[test]
fn a_plain_record_takes_91_bytes_and_its_contents() {
    let owned = plain();
    assert_eq!(encoded(&owned.record()).len(), 91 + 4 + 1);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut owned = plain();
    owned.topic = "t".repeat(128);
    let mut record = owned.record();
    assert_eq!(record.version, RecordVersion::V2);
    assert!(record.encode(&mut Vec::new()).is_ok());
    record.version = RecordVersion::V1;
    let mut out = Vec::new();
    let what = "a topic";
    assert_eq!(record.encode(&mut out), Err(RecordError::TooLong { what, bytes: 128 }));
    let properties = "p".repeat(32_768);
    let record = Record { properties: &properties, version: RecordVersion::V2, ..record };
    let what = "properties";
    assert_eq!(record.encode(&mut out), Err(RecordError::TooLong { what, bytes: 32_768 }));
    assert!(out.is_empty());
}

#[test]
fn wrong_fields_are_named() {
    let good = encoded(&plain().record());
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Record::parse(&changed).map(drop)
    };
    assert_eq!(with(4, &[0xcb, 0xd4, 0x31, 0x94]), Err(RecordError::Magic(0xcbd4_3194)));
    assert_eq!(with(0, &[0xff; 4]), Err(RecordError::NegativeLength(-1)));
    assert_eq!(with(52, &[0xff; 4]), Err(RecordError::Port(-1)));
    assert_eq!(with(52, &[0, 1, 0, 0]), Err(RecordError::Port(65_536)));
    assert_eq!(with(84, &[0xff; 4]), Err(RecordError::NegativeLength(-1)));
    assert_eq!(with(93, &[0xff]), Err(RecordError::NotUtf8));
    let mut longer = good.clone();
    longer[3] += 1;
    assert_eq!(
        Record::parse(&longer),
        Err(RecordError::Truncated { needed: good.len() + 1, left: good.len() })
    );
    longer.push(0);
    let claimed = good.len() as i32 + 1;
    assert_eq!(Record::parse(&longer), Err(RecordError::Length { claimed, taken: good.len() }));
    let mut body = good.clone();
    body[88] ^= 1;
    let checked = Record::parse(&body).unwrap().check_body();
    assert!(matches!(checked, Err(RecordError::BodyCrc { .. })));
}

proptest! {
    #[test]
    fn records_return(records in vec(owned(), 0..5)) {
        let bytes: Vec<u8> = records.iter().flat_map(|owned| encoded(&owned.record())).collect();
        let read: Result<Vec<_>, _> = Records::new(&bytes).collect();
        let read = read.unwrap();
        for record in &read {
            prop_assert_eq!(record.check_body(), Ok(()));
        }
        prop_assert_eq!(read, records.iter().map(Owned::record).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_broker_assigns_is_all_that_changes(owned in owned(), longs in any::<[i64; 3]>()) {
        let mut bytes = encoded(&owned.record());
        let [queue_offset, physical_offset, store_timestamp] = longs;
        let assigned = Assigned { queue_offset, physical_offset, store_timestamp };
        set_assigned(&mut bytes, &assigned).unwrap();
        let expected = Record { queue_offset, physical_offset, store_timestamp, ..owned.record() };
        prop_assert_eq!(Record::parse(&bytes).unwrap(), expected);
    }

    #[test]
    fn broken_records_are_survived(
        owned in owned(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = encoded(&owned.record());
        let at = at.index(bytes.len());
        prop_assert!(Record::parse(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = Records::new(&bytes).count();
        let assigned = Assigned { queue_offset: 1, physical_offset: 2, store_timestamp: 3 };
        let _ = set_assigned(&mut bytes[..at], &assigned);
        prop_assert!(Records::new(&noise).count() <= 1);
        let mut noise = [&bytes[..at], &noise[..]].concat();
        let _ = set_assigned(&mut noise, &assigned);
        let _ = Records::new(&noise).count();
    }
}
