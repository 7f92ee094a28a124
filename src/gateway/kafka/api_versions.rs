//! ApiVersions (key 18, versions 0–4): which APIs are served in which versions.
//!
//! Sources: KIP-35, KIP-511. No features are told: with `transaction.version` clients would switch to
//! KIP-890's transactions.

use kafka_protocol::{
    ResponseError,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion},
};

use crate::wire::kafka::ApiKey;

/// Answers a request of a version that is served.
#[must_use]
pub fn handle(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = [&request.client_software_name, &request.client_software_version];
    if version >= 3 && !named.iter().all(|text| is_software_word(text)) {
        return ApiVersionsResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code());
    }
    let all = ApiKey::ALL.iter().map(|&key| versions(key)).collect();
    ApiVersionsResponse::default().with_api_keys(all)
}

/// Answers a request of a version that is not served. Must be encoded in version 0, the only one that
/// any client can read (KIP-511).
#[must_use]
pub fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(vec![versions(ApiKey::ApiVersions)])
}

fn versions(key: ApiKey) -> ApiVersion {
    let (min, max) = key.advertised();
    ApiVersion::default().with_api_key(key.code()).with_min_version(min).with_max_version(max)
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as KIP-511 has it.
fn is_software_word(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let bytes = text.as_bytes();
    end(bytes.first()) && end(bytes.last()) && bytes.iter().all(inner)
}
