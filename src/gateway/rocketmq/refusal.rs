//! Why a request is not done, as RocketMQ's clients are told: a code and a remark.

use bytes::BytesMut;

use crate::{
    gateway::answer::Answer,
    wire::{
        WireError,
        rocketmq::{RemotingCommand, ResponseCode, header::FieldError},
    },
};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: ResponseCode,
    pub remark: String,
}

impl Refusal {
    pub(super) fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    pub(super) fn unknown(code: i32) -> Self {
        let remark = format!(" request type {code} not supported");
        Self::new(ResponseCode::RequestCodeNotSupported, remark)
    }

    /// The answer that tells it.
    ///
    /// # Errors
    /// A remark too long for the frame, which none is.
    pub(super) fn answer(self, request: &RemotingCommand<'_>) -> Result<Answer, WireError> {
        let mut answer = RemotingCommand::answer(request, self.code);
        answer.remark = Some(self.remark.into());
        let mut out = BytesMut::with_capacity(256);
        answer.encode(&mut out)?;
        Ok(Answer::now(out.freeze()))
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::new(ResponseCode::SystemError, error.to_string())
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::new(ResponseCode::SystemError, error.to_string())
    }
}
