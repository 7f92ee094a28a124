//! When a record is to be delivered, by its headers, on topics with the config `mainstem.delay`.
//!
//! A record's first header of these names counts: `mainstem-deliver-at-ms`, milliseconds since 1970, or
//! `mainstem-delay-ms`, a delay in milliseconds; decimal digits both. A time that is past is now. The
//! header stays on the record that is delivered, which nobody looks into again.

use std::time::Duration;

use kafka_protocol::error::ResponseError;

use super::produce::Refused;
use crate::{
    broker::{SplitBatch, records_of},
    wire::kafka::{
        batch::{BatchError, BatchHeader},
        record::{Record, Records},
    },
};

const DELIVER_AT: &[u8] = b"mainstem-deliver-at-ms";
const DELAY: &[u8] = b"mainstem-delay-ms";

/// Divides a batch by when its records are due; none if all are now. Divided it may take `log_max`
/// bytes of the log.
///
/// # Errors
/// A record that cannot be read, or whose time cannot, or is too far away; more than that in bytes.
pub(super) fn split(
    bytes: &[u8],
    header: &BatchHeader,
    now_ms: i64,
    max_delay: Duration,
    log_max: usize,
) -> Result<Option<SplitBatch>, Refused> {
    let records = records_of(bytes, header).map_err(|error| Refused::batch(&error))?;
    let due_ms = |record: &Record<'_>| due_of(record, now_ms, max_delay);
    let mut is_whole = true;
    for (index, record) in (0..).zip(Records::new(header, &records)) {
        let record = record.map_err(|error| Refused {
            record: matches!(error, BatchError::Record { .. }).then_some(index),
            ..Refused::batch(&error)
        })?;
        let due_ms =
            due_ms(&record).map_err(|refused| Refused { record: Some(index), ..refused })?;
        is_whole &= due_ms.is_none();
    }
    if is_whole {
        return Ok(None);
    }
    // The times were read before; noting them would take memory for each record.
    let due_ms = |record: &Record<'_>| due_ms(record).ok().flatten();
    let split = SplitBatch::new(bytes.len(), header, &records, log_max, due_ms);
    split.map(Some).map_err(Refused::from)
}

/// When a record is due, if not now.
fn due_of(record: &Record<'_>, now_ms: i64, max_delay: Duration) -> Result<Option<i64>, Refused> {
    let mut headers = record.headers.clone();
    let Some(header) = headers.find(|header| matches!(header.name, DELIVER_AT | DELAY)) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(header.name);
    let Some(number) = number(header.value) else {
        let text = format!("the header {name} is to be milliseconds in decimal digits");
        return Err(Refused::new(ResponseError::InvalidRecord, text));
    };
    let due_ms = if header.name == DELAY { now_ms.saturating_add(number) } else { number };
    let max_ms = i64::try_from(max_delay.as_millis()).unwrap_or(i64::MAX);
    if due_ms.saturating_sub(now_ms) > max_ms {
        let text = format!("{name}={number} is later than timers.max_delay_ms ({max_ms}) allows");
        return Err(Refused::new(ResponseError::InvalidTimestamp, text));
    }
    Ok((due_ms > now_ms).then_some(due_ms))
}

/// A number of decimal digits; one that is larger than all times is the largest.
fn number(value: Option<&[u8]>) -> Option<i64> {
    let digits = value.filter(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit))?;
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kafka::{BatchBuilder, Codec};

    const NOW: i64 = 1_700_000_000_000;
    const HOUR: Duration = Duration::from_secs(3_600);

    type Case<'a> = (&'a [(&'a str, &'a [u8])], Result<Option<i64>, ResponseError>);
    type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

    fn outcome(records: &[Headers<'_>], codec: Codec) -> Result<Option<SplitBatch>, Refused> {
        let mut builder = BatchBuilder::new();
        for headers in records {
            builder.codec(codec).record(NOW - 5, None, Some(b"v"), headers);
        }
        let bytes = builder.build().unwrap();
        split(&bytes, &BatchHeader::validate(&bytes).unwrap(), NOW, HOUR, 1 << 20)
    }

    fn due(headers: Headers<'_>) -> Result<Option<i64>, ResponseError> {
        let mut builder = BatchBuilder::new();
        builder.record(NOW, None, None, headers);
        let bytes = builder.build().unwrap();
        let header = BatchHeader::validate(&bytes).unwrap();
        let records = records_of(&bytes, &header).unwrap();
        let record = Records::new(&header, &records).next().unwrap().unwrap();
        due_of(&record, NOW, HOUR).map_err(|refused| refused.error)
    }

    #[test]
    fn the_first_header_says_when() {
        let hour_on = (NOW + 3_600_000).to_string();
        let ms_on = (NOW + 3_600_001).to_string();
        let (at, after) = ("mainstem-deliver-at-ms", "mainstem-delay-ms");
        let too_far = Err(ResponseError::InvalidTimestamp);
        let cases: [Case<'_>; 12] = [
            (&[], Ok(None)),
            (&[("Mainstem-Delay-Ms", b"5")], Ok(None)),
            (&[(after, b"5")], Ok(Some(NOW + 5))),
            (&[(after, b"0005")], Ok(Some(NOW + 5))),
            (&[(after, b"0")], Ok(None)),
            (&[(after, b"3600000")], Ok(Some(NOW + 3_600_000))),
            (&[(after, b"3600001")], too_far),
            (&[(after, b"99999999999999999999")], too_far),
            (&[(at, hour_on.as_bytes())], Ok(Some(NOW + 3_600_000))),
            (&[(at, ms_on.as_bytes())], too_far),
            (&[(at, b"5")], Ok(None)),
            (&[("a", b""), (after, b"7"), (at, b"x"), (after, b"8")], Ok(Some(NOW + 7))),
        ];
        for (headers, expected) in cases {
            let headers: Vec<_> = headers.iter().map(|(name, v)| (*name, Some(*v))).collect();
            assert_eq!(due(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let values: [Option<&[u8]>; 7] =
            [None, Some(b""), Some(b"-1"), Some(b"+1"), Some(b" 1"), Some(b"1.5"), Some(b"\xff")];
        for value in values {
            let headers: Headers<'_> = &[("mainstem-delay-ms", value)];
            let refused = outcome(&[&[], headers], Codec::Lz4).unwrap_err();
            assert_eq!((refused.error, refused.record), (ResponseError::InvalidRecord, Some(1)));
            assert!(refused.text.unwrap().contains("mainstem-delay-ms"));
        }
    }

    #[test]
    fn a_batch_without_delays_stays_whole() {
        for (delay, whole) in [(&b"0"[..], true), (b"1", false)] {
            let headers: Headers<'_> = &[("mainstem-delay-ms", Some(delay))];
            let split = outcome(&[&[], headers], Codec::Zstd).unwrap();
            assert_eq!(split.is_none(), whole);
        }
    }
}
