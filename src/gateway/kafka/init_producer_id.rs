//! InitProducerId (key 22, versions 0–5): an idempotent producer's id. Source: KIP-98, KIP-360.

use kafka_protocol::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use super::error::{ErrorCode, NONE};
use crate::cluster::ControlPlane;

/// Gives a new id with epoch 0, also to a producer that has one already: without a transactional id
/// nobody else can have it, so there is nobody to fence. Transactional ids are refused.
pub async fn handle(
    control: &impl ControlPlane,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: i16| {
        InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    match &request.transactional_id {
        Some(id) if id.is_empty() => return refused(ResponseError::InvalidRequest.code()),
        // The one code that every client takes as final; the answer has no message.
        Some(_) => return refused(ResponseError::TransactionalIdAuthorizationFailed.code()),
        None => {}
    }
    match control.allocate_producer_id().await {
        Ok(id) => InitProducerIdResponse::default()
            .with_error_code(NONE)
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(error) => refused(error.code()),
    }
}
