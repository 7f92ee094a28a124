//! Taking a timer back before it fires.

use std::rc::Rc;

use tokio::sync::SemaphorePermit;

use super::{TimerFrame, TimerKey};
use crate::{
    base::QueueId,
    broker::{Broker, ControlError, LogSlice, OffsetError},
    storage::commit_log::frame::FrameKind,
};

impl Broker {
    /// Takes back the timers of a queue of this shard that are due at `due_ms`, whose id has this hash
    /// and whose message `is_it` knows; durably. Says how many there were.
    ///
    /// # Errors
    /// What keeps them from being looked at, or the log from being written.
    pub async fn recall_timers(
        self: &Rc<Self>,
        id: QueueId,
        due_ms: i64,
        id_hash: u32,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, OffsetError> {
        let mut end = None;
        let mut recalled = 0;
        {
            let (_turn, keys) = self.find_durable(id, due_ms, id_hash).await?;
            for key in keys {
                let Some(entry) = self.index.find(id, key.offset).await? else { continue };
                let payload = self.payloads(&[LogSlice::new(id, &entry)]).await.remove(0)?;
                if !TimerFrame::parse(&payload).is_ok_and(|timer| is_it(timer.message)) {
                    continue;
                }
                end = Some(self.append_timer_frame(FrameKind::TimerSettled, id, key).await?.end);
                self.with_timers(id, |timers| timers.settle(key));
                recalled += 1;
            }
        }
        if let Some(end) = end {
            self.durable(end).await.map_err(ControlError::from)?;
        }
        Ok(recalled)
    }

    /// The timers of a queue that are due at `due_ms` and whose id has this hash, with the turn, at a
    /// moment when all of them are durable: before that they are in no index.
    async fn find_durable(
        self: &Rc<Self>,
        id: QueueId,
        due_ms: i64,
        id_hash: u32,
    ) -> Result<(SemaphorePermit<'_>, Vec<TimerKey>), OffsetError> {
        loop {
            let turn = self.timers.turn.acquire().await.map_err(|_| ControlError::Stopping)?;
            let (_, end) = self.ends(id).ok_or(OffsetError::UnknownQueue)?;
            let mut keys = Vec::new();
            self.with_timers(id, |timers| keys = timers.find(due_ms, id_hash));
            if keys.iter().all(|key| key.offset < end) {
                return Ok((turn, keys));
            }
            drop(turn);
            self.durable(self.log.reserved()).await.map_err(ControlError::from)?;
        }
    }
}
