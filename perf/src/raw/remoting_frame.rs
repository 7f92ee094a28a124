//! RocketMQ's remoting frames, written and read as far as the generator needs them: a length, a
//! header in JSON or in RocketMQ's own serialization, a body.

use super::fields::Fields;
use clap::ValueEnum;

/// The version that requests carry: V5_3_3.
const VERSION: i16 = 479;

/// How headers are written; answers tell theirs themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Serialization {
    /// As clients do by default.
    Json,
    /// `-Drocketmq.serialize.type=ROCKETMQ`.
    Binary,
}

/// Writes a request. `fields` are its ext fields; property separators in them are escaped.
pub fn write(
    code: i16,
    opaque: i32,
    serialization: Serialization,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let header = match serialization {
        Serialization::Json => json_header(code, opaque, fields),
        Serialization::Binary => binary_header(code, opaque, fields),
    };
    let kind = u32::from(serialization == Serialization::Binary) << 24;
    let mut frame = Vec::with_capacity(8 + header.len() + body.len());
    frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(kind | header.len() as u32).to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    frame
}

fn json_header(code: i16, opaque: i32, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: serde_json::Map<String, serde_json::Value> =
        fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let header = serde_json::json!({
        "code": code,
        "extFields": fields,
        "flag": 0,
        "language": "JAVA",
        "opaque": opaque,
        "serializeTypeCurrentRPC": "JSON",
        "version": VERSION,
    });
    header.to_string().into_bytes()
}

fn binary_header(code: i16, opaque: i32, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        section.extend_from_slice(&(name.len() as u16).to_be_bytes());
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(&(value.len() as u32).to_be_bytes());
        section.extend_from_slice(value.as_bytes());
    }
    let mut header = Vec::new();
    header.extend_from_slice(&code.to_be_bytes());
    header.push(0); // Java
    header.extend_from_slice(&VERSION.to_be_bytes());
    header.extend_from_slice(&opaque.to_be_bytes());
    header.extend_from_slice(&[0; 8]); // flag, no remark
    header.extend_from_slice(&(section.len() as u32).to_be_bytes());
    header.extend_from_slice(&section);
    header
}

/// An answer as it came, without its length.
pub struct Answer<'a> {
    /// The response code, 0 for success.
    pub code: i64,
    /// The request's number.
    pub opaque: i64,
    header: Header<'a>,
    /// What follows the header.
    pub body: &'a [u8],
}

#[derive(Clone, Copy)]
enum Header<'a> {
    Json(&'a [u8]),
    /// The fields' section.
    Binary(&'a [u8]),
}

impl<'a> Answer<'a> {
    /// Reads an answer; none if it ends early, or is a request of the broker's.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(frame);
        let word = fields.i32()? as u32;
        let header = fields.take((word & 0xff_ffff) as usize)?;
        let body = fields.0;
        if word >> 24 == 0 {
            let number = |name: &str| json_number(header, name);
            let is_answer = number("flag")? & 1 == 1;
            let (code, opaque) = (number("code")?, number("opaque")?);
            return is_answer.then_some(Self { code, opaque, header: Header::Json(header), body });
        }
        let mut fields = Fields(header);
        let code = i64::from(fields.i16()?);
        fields.take(3)?;
        let (opaque, flag) = (i64::from(fields.i32()?), fields.i32()?);
        fields.bytes()?;
        let header = Header::Binary(fields.bytes()?);
        (flag & 1 == 1).then_some(Self { code, opaque, header, body })
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.header {
            Header::Json(header) => json_number(header, name),
            Header::Binary(section) => {
                let mut fields = Fields(section);
                while let (Some(key), Some(value)) = (fields.text(), fields.bytes()) {
                    if key == name.as_bytes() {
                        return std::str::from_utf8(value).ok()?.parse().ok();
                    }
                }
                None
            }
        }
    }
}

/// The number, quoted or not, after a name in a JSON header. The names looked for are in no value.
fn json_number(header: &[u8], name: &str) -> Option<i64> {
    let after = header.windows(name.len() + 3).position(|window| {
        window.starts_with(b"\"")
            && window.ends_with(b"\":")
            && &window[1..=name.len()] == name.as_bytes()
    })? + name.len()
        + 3;
    let rest = &header[after..];
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'-').unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// Shows each message record of a pull's body: its queue offset and its body.
pub fn walk_messages(mut records: &[u8], mut each: impl FnMut(i64, &[u8])) -> Option<()> {
    while !records.is_empty() {
        let size = usize::try_from(Fields(records).i32()?).ok()?;
        let mut fields = Fields(records.get(..size)?);
        records = &records[size..];
        fields.take(20)?;
        let queue_offset = fields.i64()?;
        fields.take(8)?;
        let sys_flag = fields.i32()?;
        let host = |six: i32| if sys_flag & six == 0 { 4 + 4 } else { 16 + 4 };
        fields.take(8 + host(1 << 4) + 8 + host(1 << 5) + 4 + 8)?;
        each(queue_offset, fields.bytes()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as RocketMQ writes it: a request with the response flag.
    fn answer(serialization: Serialization) -> Vec<u8> {
        let fields = [("queueId", "3"), ("queueOffset", "1099511627776")];
        let mut frame = write(17, 42, serialization, &fields, b"body");
        match serialization {
            Serialization::Json => {
                let at = frame.windows(8).position(|w| w == b"\"flag\":0").unwrap();
                frame[at + 7] = b'1';
            }
            Serialization::Binary => frame[20] = 1,
        }
        frame
    }

    #[test]
    fn answers_are_read_in_both_serializations() {
        for serialization in [Serialization::Json, Serialization::Binary] {
            let frame = answer(serialization);
            assert_eq!(Fields(&frame).i32(), Some(frame.len() as i32 - 4));
            let answer = Answer::read(&frame[4..]).unwrap();
            assert_eq!((answer.code, answer.opaque, answer.body), (17, 42, &b"body"[..]));
            assert_eq!(answer.number("queueOffset"), Some(1 << 40));
            assert_eq!(answer.number("queueId"), Some(3));
            assert_eq!(answer.number("absent"), None);
            let request = write(17, 42, serialization, &[], b"");
            assert!(Answer::read(&request[4..]).is_none(), "a request is no answer");
        }
    }

    /// The pull answer of RocketMQ 5.5.0 in the broker's golden files: hosts of both lengths.
    #[test]
    fn messages_of_rocketmqs_are_walked() {
        let golden = include_str!("../../../tests/wire_golden/rocketmq-5.5.0.txt");
        let line = golden.lines().find_map(|l| l.strip_prefix("json.pull-answer ")).unwrap();
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let frame: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
        let answer = Answer::read(&frame[4..]).unwrap();
        assert_eq!(answer.number("nextBeginOffset"), Some(7));
        let mut seen = Vec::new();
        walk_messages(answer.body, |offset, body| seen.push((offset, body.to_vec()))).unwrap();
        assert_eq!(seen, vec![(5, b"body".to_vec()); 3]);
    }
}
