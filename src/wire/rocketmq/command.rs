//! A frame of RocketMQ's remoting protocol (`RemotingCommand.java`): requests and answers alike.
//!
//! ```text
//! length i32, of what follows | serialization u8 | header length u24 | header | body
//! ```
//!
//! The header is JSON ([`json_header`](super::json_header)) or RocketMQ's own binary
//! ([`binary_header`](super::binary_header)); every client reads both, told by the byte before it.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::code::{RequestCode, ResponseCode};
use super::ext_fields::ExtFields;
use super::java_enum::java_enum;
use super::{binary_header, json_header};
use crate::wire::WireError;
use crate::wire::frame::{framed, too_long};

/// The most bytes a header may have. Properties of 32 KiB, each byte escaped, fit five times.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// What this broker says its version is: the ordinal of `V5_3_3` in `MQVersion.java`. From the
/// heartbeat's answer clients learn by it that SQL filters are served.
pub const VERSION: i32 = 479;

const RESPONSE: i32 = 1;
const ONE_WAY: i32 = 1 << 1;

/// How a header is written; the number is the byte on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Serialization {
    /// `JSON`, what clients use unless told otherwise.
    #[default]
    Json = 0,
    /// `ROCKETMQ`, binary.
    RocketMq = 1,
}

java_enum! {
    /// The language of a client (`LanguageCode.java`). Answers say Java: old clients lack the others.
    Language {
        Java "JAVA",
        Cpp "CPP",
        Dotnet "DOTNET",
        Python "PYTHON",
        Delphi "DELPHI",
        Erlang "ERLANG",
        Ruby "RUBY",
        Other "OTHER",
        Http "HTTP",
        Go "GO",
        Php "PHP",
        Oms "OMS",
        Rust "RUST",
        NodeJs "NODE_JS",
    }
}

/// A request or an answer. Borrows its strings from the frame; the body shares the frame's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotingCommand<'a> {
    /// A [`RequestCode`]'s number, or a [`ResponseCode`]'s if [`Self::is_response`].
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The sender's version: an ordinal of `MQVersion.java`.
    pub version: i32,
    /// Pairs an answer with its request. Each side counts its own.
    pub opaque: i32,
    /// Bit 0: an answer; bit 1: one-way, never to be answered.
    pub flag: i32,
    /// What went wrong, for people to read. Never empty: binary headers cannot express that.
    pub remark: Option<Cow<'a, str>>,
    /// The typed header's fields ([`header`](super::header)).
    pub fields: ExtFields<'a>,
    /// How the header came, or will be written.
    pub serialization: Serialization,
    /// What follows the header; none and empty are the same.
    pub body: Bytes,
}

impl RemotingCommand<'static> {
    /// A request of our own, without fields and body. It is to be answered unless
    /// [`Self::one_way`] makes it otherwise.
    #[must_use]
    pub const fn request(code: RequestCode, opaque: i32, serialization: Serialization) -> Self {
        Self {
            code: code.number(),
            language: Language::Java,
            version: VERSION,
            opaque,
            flag: 0,
            remark: None,
            fields: ExtFields::new(),
            serialization,
            body: Bytes::new(),
        }
    }

    /// An answer to `request`, in its serialization, without fields and body.
    #[must_use]
    pub const fn answer(request: &RemotingCommand<'_>, code: ResponseCode) -> Self {
        Self {
            code: code.number(),
            language: Language::Java,
            version: VERSION,
            opaque: request.opaque,
            flag: RESPONSE,
            remark: None,
            fields: ExtFields::new(),
            serialization: request.serialization,
            body: Bytes::new(),
        }
    }
}

impl<'a> RemotingCommand<'a> {
    /// Reads a frame, without its length prefix.
    ///
    /// # Errors
    /// Whatever is wrong with the lengths or the header. The typed header and the body are not
    /// looked at.
    pub fn parse(frame: &'a Bytes) -> Result<Self, WireError> {
        let mut rest = &frame[..];
        let word = rest.try_get_u32()?;
        let header_bytes = (word & 0x00ff_ffff) as usize;
        if header_bytes > HEADER_BYTES_MAX {
            let max_bytes = HEADER_BYTES_MAX;
            return Err(WireError::HeaderLength { claimed: header_bytes, max_bytes });
        }
        let truncated = WireError::Truncated { needed: header_bytes, left: rest.len() };
        let (header, body) = rest.split_at_checked(header_bytes).ok_or(truncated)?;
        let command = match (word >> 24) as u8 {
            0 => json_header::parse(header),
            1 => binary_header::parse(header),
            unknown => Err(WireError::UnknownSerialization(unknown)),
        }?;
        Ok(Self { body: frame.slice_ref(body), ..command })
    }

    /// Writes the frame with its length prefix. If it fails, `out` is as it was.
    ///
    /// # Errors
    /// [`WireError::Encode`] if something does not fit in its length or, in binary, a number in its
    /// 16 bits.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.encode_head(out, self.body.len())?;
        out.put_slice(&self.body);
        Ok(())
    }

    /// Writes all of the frame but its body, of which the caller sends `body_bytes` by itself;
    /// [`Self::body`] is not looked at.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_head(&self, out: &mut BytesMut, body_bytes: usize) -> Result<(), WireError> {
        framed(out, |out| {
            let start = out.len();
            out.put_u32(0);
            match self.serialization {
                Serialization::Json => json_header::write(self, out)?,
                Serialization::RocketMq => binary_header::write(self, out)?,
            }
            let header_bytes = out.len() - start - 4;
            if header_bytes > HEADER_BYTES_MAX {
                return Err(too_long("a header", header_bytes));
            }
            let word = (self.serialization as u32) << 24 | header_bytes as u32;
            out[start..start + 4].copy_from_slice(&word.to_be_bytes());
            Ok(((), body_bytes))
        })
    }

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// Whether it must not be answered.
    #[must_use]
    pub const fn is_one_way(&self) -> bool {
        self.flag & ONE_WAY != 0
    }

    /// The same, not to be answered.
    #[must_use]
    pub fn one_way(mut self) -> Self {
        self.flag |= ONE_WAY;
        self
    }
}

#[cfg(test)]
mod tests;
