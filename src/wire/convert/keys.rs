//! The keys of a Kafka batch's records, as RocketMQ's clients see them.

use super::plain;
use crate::wire::{
    kafka::{BatchHeader, batch, compression, record::Records},
    rocketmq::property::{KEYS_PARTED_BY, PROPERTIES_BYTES_MAX, UNIQ_KEY},
};

/// Calls `found` with the offset and each key of each record that has some: the same ones that the
/// properties of its converted message name. `decompressed_max` is how large a compressed batch may
/// become; a larger one has no keys, like what cannot be read.
pub fn each_key(bytes: &[u8], decompressed_max: usize, mut found: impl FnMut(i64, &str)) {
    let Ok(header) = BatchHeader::parse(bytes) else { return };
    if header.is_control() {
        return;
    }
    let records = bytes.get(batch::HEADER_BYTES..).unwrap_or_default();
    let limit = decompressed_max.max(records.len());
    let codec = header.codec();
    let Ok(records) = codec.and_then(|codec| compression::decompress(codec, records, limit)) else {
        return;
    };
    for record in Records::new(&header, &records).map_while(Result::ok) {
        let offset = header.offset_time(&record).offset;
        let fits = |key: &&str| key.len() < PROPERTIES_BYTES_MAX;
        let given = record.key.and_then(plain).filter(fits);
        let given = given.into_iter().flat_map(|keys| keys.split(KEYS_PARTED_BY));
        given.filter(|key| !key.is_empty()).for_each(|key| found(offset, key));
        let named = record.headers.filter(|header| header.name == UNIQ_KEY.as_bytes());
        let unique = named.filter_map(|header| header.value.and_then(plain)).last();
        unique.filter(fits).into_iter().for_each(|key| found(offset, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kafka::{BatchBuilder, Codec};

    type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

    fn keys(codec: Codec, decompressed_max: usize) -> Vec<(i64, String)> {
        let mut builder = BatchBuilder::new();
        builder.base_offset(7).codec(codec);
        let records: [(Option<&[u8]>, Headers<'_>); 6] = [
            (Some(b"red"), &[]),
            (None, &[("UNIQ_KEY", Some(b"no, the last")), ("UNIQ_KEY", Some(b"id"))]),
            (Some(b" blue  red "), &[("KEYS", Some(b"no property"))]),
            (Some(b"\xff"), &[("UNIQ_KEY", None)]),
            (Some(b""), &[]),
            (Some(&[b'x'; PROPERTIES_BYTES_MAX]), &[]),
        ];
        for (key, headers) in records {
            builder.record(0, key, Some(b"value"), headers);
        }
        let mut found = Vec::new();
        each_key(&builder.build().unwrap(), decompressed_max, |offset, key| {
            found.push((offset, key.to_owned()));
        });
        found
    }

    #[test]
    fn records_have_the_keys_that_rocketmq_sees() {
        let expected = [(7, "red"), (8, "id"), (9, "blue"), (9, "red")];
        let expected = expected.map(|(offset, key)| (offset, key.to_owned()));
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert_eq!(keys(codec, 1 << 20), expected);
        }
        assert_eq!(keys(Codec::None, 10), expected);
        assert_eq!(keys(Codec::Zstd, 10), []);
    }

    #[test]
    fn bytes_that_are_no_batch_have_none() {
        let batch = {
            let mut builder = BatchBuilder::new();
            builder.record(0, Some(b"key"), None, &[]);
            builder.build().unwrap()
        };
        let count = |bytes: &[u8]| {
            let mut count = 0;
            each_key(bytes, 1 << 20, |_, _| count += 1);
            count
        };
        assert_eq!(count(&batch), 1);
        (0..batch.len()).for_each(|end| assert_eq!(count(&batch[..end]), 0));
    }
}
