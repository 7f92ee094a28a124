//! DeleteTopics (key 20, versions 1–6). Sources: KIP-4, KIP-516 (by id from version 6).

use hashbrown::HashSet;
use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        delete_topics_request::DeleteTopicState, delete_topics_response::DeletableTopicResult,
    },
};
use uuid::Uuid;

use super::{
    error::{code_and_message, invalid_request},
    wire,
};
use crate::{
    base::TopicId,
    cluster::{ClusterError, ClusterState, ControlPlane},
};

/// From this version on topics are asked for by name or id.
const BY_ID: i16 = 6;

/// Clients of this version on know the code for deletion being switched off.
const KNOWS_DISABLED: i16 = 3;

/// Deletes the topics.
pub async fn handle(
    control: &impl ControlPlane,
    version: i16,
    request: &DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if version >= BY_ID {
        request.topics.clone()
    } else {
        let state = |name: &TopicName| DeleteTopicState::default().with_name(Some(name.clone()));
        request.topic_names.iter().map(state).collect()
    };
    let enabled = control.cluster().broker_value("delete.topic.enable") != Some("false");
    if !enabled {
        return disabled(version, &asked);
    }
    let mut seen = HashSet::new();
    let mut found = Vec::with_capacity(asked.len());
    for topic in &asked {
        let id = find(&control.cluster(), topic).and_then(|id| match seen.insert(id) {
            true => Ok(id),
            false => Err(invalid_request("Duplicate topic name or id.")),
        });
        found.push(id);
    }
    let ids: Vec<_> = found.iter().filter_map(|id| id.as_ref().ok().copied()).collect();
    let mut deleted = control.delete_topics(&ids).await.into_iter();
    let answer = |(topic, found): (&DeleteTopicState, Result<TopicId, ClusterError>)| {
        let result =
            found.and_then(|_| deleted.next().expect("a result for every topic asked for"));
        let (code, message) = code_and_message(result.as_ref().err());
        let answer =
            DeletableTopicResult::default().with_error_code(code).with_error_message(message);
        match result {
            Ok(topic) => answer
                .with_name(Some(TopicName(wire(&topic.name))))
                .with_topic_id(Uuid::from_bytes(topic.id.0)),
            Err(_) => answer.with_name(topic.name.clone()).with_topic_id(topic.topic_id),
        }
    };
    let answers = asked.iter().zip(found).map(answer).collect();
    DeleteTopicsResponse::default().with_responses(answers)
}

fn find(cluster: &ClusterState, asked: &DeleteTopicState) -> Result<TopicId, ClusterError> {
    match (&asked.name, asked.topic_id.is_nil()) {
        (Some(name), true) => match cluster.topic(name) {
            Some(topic) => Ok(topic.id),
            None => Err(ClusterError::UnknownTopic { name: name.as_str().into() }),
        },
        (None, false) => Ok(TopicId(asked.topic_id.into_bytes())),
        (Some(_), false) => {
            Err(invalid_request("You may not specify both topic name and topic id."))
        }
        (None, true) => Err(invalid_request("Neither topic name nor id were specified.")),
    }
}

fn disabled(version: i16, asked: &[DeleteTopicState]) -> DeleteTopicsResponse {
    let error = if version < KNOWS_DISABLED {
        ResponseError::InvalidRequest
    } else {
        ResponseError::TopicDeletionDisabled
    };
    let answer = |topic: &DeleteTopicState| {
        DeletableTopicResult::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_error_code(error.code())
            .with_error_message(Some(wire("Topic deletion is disabled.")))
    };
    DeleteTopicsResponse::default().with_responses(asked.iter().map(answer).collect())
}
