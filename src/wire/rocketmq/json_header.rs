//! A header as JSON, read as tolerantly as fastjson does.
//!
//! Unknown fields are passed over, any field may be missing or null, and numbers may come as strings
//! and strings as numbers.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::command::{Language, RemotingCommand, Serialization};
use super::ext_fields::ExtFields;
use super::scalar::{Scalar, number};
use crate::wire::WireError;

#[derive(Default, Deserialize)]
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

/// In the order in which fastjson writes a class: by name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    code: i32,
    ext_fields: &'a ExtFields<'a>,
    flag: i32,
    language: Language,
    opaque: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(rename = "serializeTypeCurrentRPC")]
    serialize_type: &'static str,
    version: i32,
}

pub(super) fn parse(header: &[u8]) -> Result<RemotingCommand<'_>, WireError> {
    // serde would take an array for an object with its fields in order.
    if !header.trim_ascii_start().starts_with(b"{") {
        return Err(WireError::Json("a header is an object".to_owned()));
    }
    let Read { code, ext_fields, flag, language, opaque, remark, version } =
        serde_json::from_slice(header).map_err(|error| WireError::Json(error.to_string()))?;
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

pub(super) fn write(command: &RemotingCommand<'_>, out: &mut BytesMut) -> Result<(), WireError> {
    let header = Written {
        code: command.code,
        ext_fields: &command.fields,
        flag: command.flag,
        language: command.language,
        opaque: command.opaque,
        remark: command.remark.as_ref().map(Cow::as_ref).filter(|remark| !remark.is_empty()),
        serialize_type: "JSON",
        version: command.version,
    };
    serde_json::to_writer(out.writer(), &header)
        .map_err(|error| WireError::Encode(error.to_string()))
}
