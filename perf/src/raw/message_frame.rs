//! Prepared sends of RocketMQ's: one message (SEND_MESSAGE_V2, 310), or a batch of them
//! (SEND_BATCH_MESSAGE, 320).

use super::remoting_frame::{Serialization, write};
use super::stamp::Stamp;
use crate::payload::{Header, PayloadSource};

const SEND_MESSAGE_V2: i16 = 310;
const SEND_BATCH_MESSAGE: i16 = 320;
/// Digits of the current time in milliseconds, until the year 2286.
const TIME_DIGITS: usize = 13;
/// Digits of a message's unique id.
const ID_DIGITS: usize = 32;
/// The name of every producer of the generator's.
pub const GROUP: &str = "mainstem-perf-raw";

/// Where a message goes.
pub struct MessagePlace<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The queue in it.
    pub queue: u32,
    /// The broker's name.
    pub broker: &'a str,
}

/// A send that is built once and then only patched: born time, unique ids, stamps.
pub struct MessageFrame {
    /// The frame as it goes over the wire.
    pub bytes: Vec<u8>,
    /// Where the born time is.
    time_at: usize,
    /// Where each message's unique id is, and its body.
    messages: Vec<(usize, usize)>,
}

impl MessageFrame {
    /// A send of so many messages, which have room for a stamp. The number `opaque` stays the same,
    /// since the answer comes before the next send.
    pub fn new(
        place: &MessagePlace<'_>,
        messages: usize,
        source: &mut PayloadSource,
        opaque: i32,
        serialization: Serialization,
    ) -> Self {
        let (time, id) = ("T".repeat(TIME_DIGITS), "I".repeat(ID_DIGITS));
        let unstamped = Header { run: 0, sequence: 0, total: 0, intended_ns: 0 };
        let properties = format!("UNIQ_KEY\u{1}{id}\u{2}WAIT\u{1}true\u{2}");
        let (is_batch, queue) = (messages > 1, place.queue.to_string());
        let mut body = Vec::new();
        let mut places = Vec::new();
        for _ in 0..messages {
            let message = source.next(&unstamped);
            if is_batch {
                let length = (22 + message.len() + properties.len()) as u32;
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(&[0; 12]); // magic, body CRC, flag
                body.extend_from_slice(&(message.len() as u32).to_be_bytes());
            }
            let at = body.len();
            body.extend_from_slice(message);
            if is_batch {
                body.extend_from_slice(&(properties.len() as u16).to_be_bytes());
                places.push((body.len() + "UNIQ_KEY\u{1}".len(), at));
                body.extend_from_slice(properties.as_bytes());
            } else {
                places.push((0, at));
            }
        }
        let fields = [
            ("a", GROUP),
            ("b", place.topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", &queue),
            ("f", "0"),
            ("g", &time),
            ("h", "0"),
            ("i", if is_batch { "WAIT\u{1}true\u{2}" } else { &properties }),
            ("j", "0"),
            ("k", "false"),
            ("m", if is_batch { "true" } else { "false" }),
            ("n", place.broker),
        ];
        let code = if is_batch { SEND_BATCH_MESSAGE } else { SEND_MESSAGE_V2 };
        let bytes = write(code, opaque, serialization, &fields, &body);
        let body_at = bytes.len() - body.len();
        let find = |text: &str| {
            let header = bytes[..body_at].windows(text.len());
            header.enumerate().find(|(_, window)| *window == text.as_bytes()).map(|(at, _)| at)
        };
        let time_at = find(&time).expect("the time was just written");
        let id_at = |at: usize| if is_batch { Some(body_at + at) } else { find(&id) };
        let place = |(id, body): (usize, usize)| {
            (id_at(id).expect("the id was just written"), body_at + body)
        };
        let messages = places.into_iter().map(place).collect();
        Self { bytes, time_at, messages }
    }

    /// Makes it the next send of a stream; its first message takes the stamp's number.
    pub fn patch(&mut self, stamp: &Stamp, now_ms: u64) {
        put_decimal(&mut self.bytes[self.time_at..self.time_at + TIME_DIGITS], now_ms);
        for (index, &(id_at, body_at)) in (0..).zip(&self.messages) {
            let stamp = Stamp { sequence: stamp.sequence + index, ..*stamp };
            let (high, low) = self.bytes[id_at..id_at + ID_DIGITS].split_at_mut(ID_DIGITS / 2);
            put_hex(high, stamp.run);
            put_hex(low, u64::from(stamp.stream) << 40 | stamp.sequence);
            stamp.write(&mut self.bytes[body_at..]);
        }
    }
}

fn put_decimal(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn put_hex(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(messages: usize, serialization: Serialization) -> Vec<u8> {
        let place = MessagePlace { topic: "t", queue: 5, broker: "b" };
        let mut source = PayloadSource::new(100, 7);
        let mut frame = MessageFrame::new(&place, messages, &mut source, 7, serialization);
        let stamp = Stamp { stream: 3, run: 0xabcd, sequence: 40, intended_ns: 9 };
        frame.patch(&stamp, 1_700_000_000_123);
        frame.bytes
    }

    #[test]
    fn a_single_send_has_its_time_id_and_stamp() {
        for serialization in [Serialization::Json, Serialization::Binary] {
            let bytes = frame(1, serialization);
            let stamp = Stamp::read(&bytes[bytes.len() - 100..]).unwrap();
            assert_eq!((stamp.stream, stamp.sequence), (3, 40));
            let header = String::from_utf8_lossy(&bytes[8..bytes.len() - 100]).into_owned();
            assert!(header.contains("1700000000123"), "{header}");
            assert!(header.contains("000000000000ABCD0000030000000028"), "{header}");
        }
    }

    #[test]
    fn a_json_header_is_json() {
        let bytes = frame(1, Serialization::Json);
        let header: serde_json::Value =
            serde_json::from_slice(&bytes[8..bytes.len() - 100]).unwrap();
        assert_eq!(header["code"], 310);
        assert_eq!(header["extFields"]["e"], "5");
        let properties = header["extFields"]["i"].as_str().unwrap();
        assert!(properties.starts_with("UNIQ_KEY\u{1}0000"), "{properties}");
        assert!(properties.ends_with("\u{2}WAIT\u{1}true\u{2}"), "{properties}");
    }

    #[test]
    fn every_message_of_a_batch_is_numbered() {
        let bytes = frame(4, Serialization::Binary);
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut at = 8 + (word(4) & 0xff_ffff);
        for index in 0..4 {
            let (size, body) = (word(at), word(at + 16));
            assert_eq!(body, 100);
            let stamp = Stamp::read(&bytes[at + 20..at + 20 + body]).unwrap();
            assert_eq!(stamp.sequence, 40 + index);
            let properties = String::from_utf8_lossy(&bytes[at + 22 + body..at + size]);
            assert!(properties.contains(&format!("{:016X}", (3u64 << 40) + 40 + index)));
            at += size;
        }
        assert_eq!(at, bytes.len());
    }
}
