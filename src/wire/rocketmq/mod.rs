//! RocketMQ's remoting protocol: frames, headers, bodies, message records.
//!
//! # A request's way
//! 1. The connection cuts a frame by its length, as Kafka's does, and [`RemotingCommand::parse`] reads
//!    the header, JSON or binary. Strings are borrowed from the frame and the body shares its memory;
//!    a frame that fails closes the connection.
//! 2. [`RequestCode::from_number`] tells what is asked; for none the answer is
//!    [`ResponseCode::RequestCodeNotSupported`].
//! 3. The code's typed header ([`header`]) parses [`RemotingCommand::fields`]. A field that is missing
//!    or malformed is answered with [`ResponseCode::SystemError`] and the error's text.
//! 4. Bodies: JSON is read by [`body::from_json`], a message's body stays bytes,
//!    [`SEND_BATCH_MESSAGE`](RequestCode::SendBatchMessage)'s is walked by [`batch::BatchMessages`].
//! 5. [`RemotingCommand::answer`] mirrors opaque and serialization; the typed header's `write` adds
//!    its fields, a remark says what went wrong; [`RemotingCommand::encode`] writes it all, or
//!    [`RemotingCommand::encode_head`] what goes before a body of the log's own bytes. A one-way
//!    request ([`RemotingCommand::is_one_way`]) is not answered.
//!
//! Requests of the broker's own (codes 39, 40, 220, 221, 307, 309, 326) are
//! [`RemotingCommand::request`]s in the client's last serialization; C++ reads JSON only.
//!
//! ```
//! use bytes::{Buf, BytesMut};
//! use mainstem::wire::rocketmq::header::{OffsetResponse, TopicQueueRequest};
//! use mainstem::wire::rocketmq::{RemotingCommand, RequestCode, ResponseCode, Serialization};
//!
//! let mut request = RemotingCommand::request(RequestCode::GetMinOffset, 7, Serialization::RocketMq);
//! TopicQueueRequest { topic: "orders", queue_id: 3 }.write(&mut request.fields);
//! let mut sent = BytesMut::new();
//! request.encode(&mut sent)?;
//!
//! assert_eq!(sent.get_i32() as usize, sent.len());
//! let frame = sent.freeze();
//! let request = RemotingCommand::parse(&frame)?;
//! let header = TopicQueueRequest::parse(&request.fields)?;
//! assert_eq!(header.topic, "orders");
//!
//! let mut answer = RemotingCommand::answer(&request, ResponseCode::Success);
//! OffsetResponse { offset: 42 }.write(&mut answer.fields);
//! answer.encode(&mut BytesMut::new())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Records
//! The log stores messages as consumers get them, a [`record::Record`] each, V1 unless the topic's name
//! is too long for it. [`record::Record::encode`] writes one from a send; the owner of the queue sets
//! what it assigns in place ([`record::set_assigned`]). A pull's body is records end to end
//! ([`record::Records`]). Properties are one string ([`property`]), ids are [`OffsetMessageId`] and
//! [`UniqueId`]; a delayed message has a [`RecallHandle`] too.
//!
//! # What bites
//! - The Java client dereferences the `extFields` of every send's answer, and in them
//!   [`MSG_REGION` and `TRACE_ON`](header::beside). JSON answers always have `extFields`; binary ones
//!   have them when they are not empty.
//! - Clients learn the broker's version from the answer to HEART_BEAT; below 4.1 they refuse SQL.
//! - The binary header cannot tell empty from null; an empty remark or value is none.
//! - Map keys that are objects have to be written as fastjson writes them ([`body::Table`]).
//! - A deflated registration (103 with `compressed`) is not read here.

pub mod batch;
mod binary_header;
pub mod body;
pub mod code;
pub mod command;
mod ext_fields;
pub mod header;
mod java_enum;
mod json_header;
mod message_id;
pub mod property;
mod recall_handle;
pub mod record;
mod scalar;
mod sys_flag;

pub use code::{RequestCode, ResponseCode};
pub use command::{Language, RemotingCommand, Serialization, VERSION};
pub use ext_fields::ExtFields;
pub use message_id::{OffsetMessageId, UniqueId};
pub use recall_handle::RecallHandle;
pub use sys_flag::{BodyCompression, PullSysFlag, SysFlag, TransactionType};
