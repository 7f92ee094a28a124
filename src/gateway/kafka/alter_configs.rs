//! AlterConfigs (key 33, versions 0–2), which replaces all configs of a resource, and
//! IncrementalAlterConfigs (key 44, versions 0–1), which changes some. Sources: KIP-133, KIP-339.

use kafka_protocol::{
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_request,
        incremental_alter_configs_response,
    },
    protocol::StrBytes,
};

use super::{
    describe_configs::resource,
    error::{code_and_message, invalid_request},
    repeated, shared,
};
use crate::cluster::{ClusterError, ConfigChange, ConfigOp, ConfigUpdate, ControlPlane};

/// One resource's update, or why it was refused before the broker saw it.
type Asked<'a> = ((i8, &'a StrBytes), Result<ConfigUpdate, ClusterError>);

/// Replaces configs, or only checks whether it could.
pub async fn replace(
    control: &impl ControlPlane,
    request: &AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let configs = resource.configs.iter();
        let configs =
            configs.map(|config| (shared(&config.name), config.value.as_ref().map(shared)));
        let update = Ok(ConfigUpdate::Replace(configs.collect()));
        asked.push(((resource.resource_type, &resource.resource_name), update));
    }
    let results = alter(control, asked, request.validate_only).await;
    let answer = |((kind, name), error): ((i8, StrBytes), Option<ClusterError>)| {
        let (code, message) = code_and_message(error.as_ref());
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    };
    AlterConfigsResponse::default().with_responses(results.into_iter().map(answer).collect())
}

/// Changes single configs, or only checks whether it could.
pub async fn change(
    control: &impl ControlPlane,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let changes: Result<_, _> = resource.configs.iter().map(translate).collect();
        let update = changes.map(ConfigUpdate::Change);
        asked.push(((resource.resource_type, &resource.resource_name), update));
    }
    let results = alter(control, asked, request.validate_only).await;
    let answer = |((kind, name), error): ((i8, StrBytes), Option<ClusterError>)| {
        let (code, message) = code_and_message(error.as_ref());
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    };
    IncrementalAlterConfigsResponse::default()
        .with_responses(results.into_iter().map(answer).collect())
}

fn translate(
    config: &incremental_alter_configs_request::AlterableConfig,
) -> Result<ConfigChange, ClusterError> {
    // `AlterConfigOp.OpType`.
    let op = match config.config_operation {
        0 => ConfigOp::Set,
        1 => ConfigOp::Delete,
        2 => ConfigOp::Append,
        3 => ConfigOp::Subtract,
        other => return Err(invalid_request(format!("Unknown operation type {other}"))),
    };
    Ok(ConfigChange { name: shared(&config.name), op, value: config.value.as_ref().map(shared) })
}

/// Does all updates that can be done; a resource named twice is refused.
async fn alter(
    control: &impl ControlPlane,
    asked: Vec<Asked<'_>>,
    validate_only: bool,
) -> Vec<((i8, StrBytes), Option<ClusterError>)> {
    let keys: Vec<_> = asked.iter().map(|(key, _)| *key).collect();
    let repeated = repeated(keys.iter().copied());
    let mut updates = Vec::new();
    let mut refused = Vec::with_capacity(asked.len());
    for ((kind, name), update) in asked {
        let result = match repeated.contains(&(kind, name)) {
            false => resource(&control.cluster(), kind, name),
            true => Err(invalid_request("Each resource must appear at most once.")),
        };
        refused.push(match result.and_then(|resource| Ok((resource, update?))) {
            Ok(update) => {
                updates.push(update);
                None
            }
            Err(error) => Some(error),
        });
    }
    let mut results = control.alter_configs(&updates, validate_only).await.into_iter();
    let answers = keys.into_iter().zip(refused).map(|((kind, name), refused)| {
        let error = refused
            .or_else(|| results.next().expect("a result for every resource asked for").err());
        ((kind, name.clone()), error)
    });
    answers.collect()
}
