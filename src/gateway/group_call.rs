//! Calls of the group coordinator, on the shard that owns the group.

use std::{net::IpAddr, rc::Rc};

use crate::broker::{
    Broker,
    group::{GroupError, Groups, Moment, Reply, ReplyToken},
};

/// Makes a call that is answered at once. It owns what it needs of the request, since it may run on
/// another shard.
///
/// # Errors
/// Only where the broker stops.
pub(super) async fn call<R: Send + 'static>(
    broker: &Rc<Broker>,
    group: &str,
    call: impl FnOnce(&mut Groups, Moment) -> R + Send + 'static,
) -> Result<R, GroupError> {
    let work = |owner: Rc<Broker>| owner.with_groups(call);
    let called = broker
        .on(broker.group_owner(group), |owner| Box::pin(std::future::ready(work(owner))))
        .await;
    called.map_err(|_| GroupError::CoordinatorNotAvailable)
}

/// Makes a call that is answered later, and waits for the answer. `None` where the broker stops.
pub(super) async fn ask(
    broker: &Rc<Broker>,
    group: &str,
    call: impl FnOnce(&mut Groups, Moment, ReplyToken) + Send + 'static,
) -> Option<Reply> {
    let asked = broker.on(broker.group_owner(group), |owner| {
        Box::pin(async move { owner.ask_groups(call).await })
    });
    asked.await.ok().flatten()
}

/// A client's address as administrators see it: a slash before it, and no zeros left out of it.
pub(super) fn shown_host(host: IpAddr) -> String {
    match host.to_canonical() {
        IpAddr::V4(host) => format!("/{host}"),
        IpAddr::V6(host) => {
            let groups = host.segments().map(|group| format!("{group:x}"));
            format!("/{}", groups.join(":"))
        }
    }
}
