//! What a crash may lose of what was answered: said at the start, where it is anything at all.

use crate::{
    cluster::{ClusterState, FlushMode},
    config::{Config, Flush},
};

/// Topics that are named.
const NAMES_MAX: usize = 10;

/// Warns of answers that leave before what they are for is durable.
pub fn tell(config: &Config, cluster: &ClusterState) {
    let inflight_mib = config.log.inflight_bytes >> 20;
    let interval = match config.log.sync_interval_ms {
        0 => String::new(),
        interval => format!("; one of the machine also the last {interval} ms"),
    };
    let loss = format!(
        "sends are answered before they are durable; a crash of the machine or of this process loses \
         what was answered and not yet written, at most log.inflight_bytes ({inflight_mib} MiB){interval}"
    );
    if config.log.flush == Flush::Async {
        tracing::warn!("log.flush=async: {loss}");
        return;
    }
    let topics = cluster.topics().filter(|topic| topic.settings.flush == Some(FlushMode::Async));
    let mut names: Vec<&str> = topics.map(|topic| &*topic.name).collect();
    if !names.is_empty() {
        let more = names.len().saturating_sub(NAMES_MAX);
        names.truncate(NAMES_MAX);
        let names = names.join(", ");
        tracing::warn!(more, "mainstem.flush=async on {names}: {loss}");
    }
}
