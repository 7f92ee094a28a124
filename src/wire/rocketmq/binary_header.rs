//! A header in RocketMQ's own serialization (`RocketMQSerializable.java`), big-endian.
//!
//! ```text
//! code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark length i32 | remark
//! | fields' length i32 | per field: name length i16 | name | value length i32 | value
//! ```
//!
//! Java reads an empty string as null, so empty values are not there at all.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::command::{Language, RemotingCommand, Serialization};
use super::ext_fields::ExtFields;
use crate::wire::WireError;
use crate::wire::frame::too_long;

/// The fewest bytes a field takes: its two lengths.
const FIELD_BYTES_MIN: usize = 6;

pub(super) fn parse(mut header: &[u8]) -> Result<RemotingCommand<'_>, WireError> {
    let header = &mut header;
    Ok(RemotingCommand {
        code: i32::from(header.try_get_i16()?),
        language: Language::from_ordinal(usize::from(header.try_get_u8()?)),
        version: i32::from(header.try_get_i16()?),
        opaque: header.try_get_i32()?,
        flag: header.try_get_i32()?,
        remark: text(header)?.map(Cow::Borrowed),
        fields: fields(header)?,
        serialization: Serialization::RocketMq,
        body: Bytes::new(),
    })
}

fn fields<'a>(header: &mut &'a [u8]) -> Result<ExtFields<'a>, WireError> {
    let length = header.try_get_i32()?;
    let mut section = take(header, i64::from(length))?;
    let mut fields = ExtFields::with_capacity((section.len() / FIELD_BYTES_MIN).min(16));
    while !section.is_empty() {
        let length = section.try_get_i16()?;
        let name = utf8(take(&mut section, i64::from(length))?)?;
        if let (false, Some(value)) = (name.is_empty(), text(&mut section)?) {
            fields.push(name, value);
        }
    }
    Ok(fields)
}

/// A string behind a length of 32 bits; an empty one is none.
fn text<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a str>, WireError> {
    let length = bytes.try_get_i32()?;
    let text = utf8(take(bytes, i64::from(length))?)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn take<'a>(bytes: &mut &'a [u8], length: i64) -> Result<&'a [u8], WireError> {
    let count = usize::try_from(length).map_err(|_| WireError::NegativeLength(length))?;
    let truncated = WireError::Truncated { needed: count, left: bytes.len() };
    bytes.split_off(..count).ok_or(truncated)
}

fn utf8(bytes: &[u8]) -> Result<&str, WireError> {
    str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)
}

pub(super) fn write(command: &RemotingCommand<'_>, out: &mut BytesMut) -> Result<(), WireError> {
    out.put_i16(short("a code", command.code)?);
    out.put_u8(command.language as u8);
    out.put_i16(short("a version", command.version)?);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    put_text(out, command.remark.as_deref().unwrap_or_default())?;
    let start = out.len();
    out.put_i32(0);
    for (name, value) in command.fields.iter() {
        let length = i16::try_from(name.len()).map_err(|_| too_long("a name", name.len()))?;
        out.put_i16(length);
        out.put_slice(name.as_bytes());
        put_text(out, value)?;
    }
    let length = out.len() - start - 4;
    let length = i32::try_from(length).map_err(|_| too_long("a header", length))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), WireError> {
    let length = i32::try_from(text.len()).map_err(|_| too_long("a string", text.len()))?;
    out.put_i32(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn short(what: &str, number: i32) -> Result<i16, WireError> {
    i16::try_from(number)
        .map_err(|_| WireError::Encode(format!("{what} of {number} does not fit in 16 bits")))
}
