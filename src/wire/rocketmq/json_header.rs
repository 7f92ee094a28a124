//! A header as JSON, read as tolerantly as fastjson does.
//!
//! Unknown fields are passed over, any field may be missing or null, and numbers may come as strings
//! and strings as numbers.

mod plain;

use std::fmt::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;

use super::command::{Language, RemotingCommand, Serialization};
use super::ext_fields::ExtFields;
use super::scalar::{Scalar, number};
use crate::wire::WireError;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Read<'a> {
    #[serde(deserialize_with = "number")]
    code: i32,
    #[serde(borrow)]
    ext_fields: ExtFields<'a>,
    #[serde(deserialize_with = "number")]
    flag: i32,
    language: Language,
    #[serde(deserialize_with = "number")]
    opaque: i32,
    #[serde(borrow)]
    remark: Scalar<'a>,
    #[serde(deserialize_with = "number")]
    version: i32,
}

pub(super) fn parse(header: &[u8]) -> Result<RemotingCommand<'_>, WireError> {
    let Read { code, ext_fields, flag, language, opaque, remark, version } =
        plain::read(header).map_or_else(|| read(header), Ok)?;
    Ok(RemotingCommand {
        code,
        language,
        version,
        opaque,
        flag,
        remark: remark.into_text().filter(|remark| !remark.is_empty()),
        fields: ext_fields,
        serialization: Serialization::Json,
        body: Bytes::new(),
    })
}

/// Reads whatever is JSON.
fn read(header: &[u8]) -> Result<Read<'_>, WireError> {
    // serde would take an array for an object with its fields in order.
    if !header.trim_ascii_start().starts_with(b"{") {
        return Err(WireError::Json("a header is an object".to_owned()));
    }
    serde_json::from_slice(header).map_err(|error| WireError::Json(error.to_string()))
}

/// Writes the members as fastjson writes a class: in the order of their names.
pub(super) fn write(command: &RemotingCommand<'_>, out: &mut BytesMut) -> Result<(), WireError> {
    let RemotingCommand { code, flag, opaque, version, .. } = command;
    put(out, format_args!("{{\"code\":{code},\"extFields\":{{"))?;
    for (index, (name, value)) in command.fields.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_text(out, name)?;
        out.put_u8(b':');
        put_text(out, value)?;
    }
    put(out, format_args!("}},\"flag\":{flag},\"language\":"))?;
    match command.language.name() {
        Some(name) => put_text(out, name)?,
        None => out.put_slice(b"null"),
    }
    put(out, format_args!(",\"opaque\":{opaque},"))?;
    if let Some(remark) = command.remark.as_deref().filter(|remark| !remark.is_empty()) {
        out.put_slice(b"\"remark\":");
        put_text(out, remark)?;
        out.put_u8(b',');
    }
    put(out, format_args!("\"serializeTypeCurrentRPC\":\"JSON\",\"version\":{version}}}"))
}

fn put(out: &mut BytesMut, text: fmt::Arguments<'_>) -> Result<(), WireError> {
    out.write_fmt(text).map_err(|error| WireError::Encode(error.to_string()))
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), WireError> {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let written = serde_json::to_writer(out.writer(), text);
        return written.map_err(|error| WireError::Encode(error.to_string()));
    }
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    out.put_slice(text.as_bytes());
    out.put_u8(b'"');
    Ok(())
}
