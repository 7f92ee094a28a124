//! A message that waits for its time, as who knows its place sees it.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::TimerFrame;
use crate::{
    base::{Dialect, QueueId},
    broker::{Broker, LogSlice, ReadError},
    wire::rocketmq::record::{self, Assigned},
};

impl Broker {
    /// The message of RocketMQ's at `offset` of a timer queue of this shard, with that for its place.
    /// None if none has that offset, or the log has it no more: it may have come long ago. Nor is there
    /// one in any other queue.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn waiting_message_at(
        self: &Rc<Self>,
        queue: QueueId,
        offset: i64,
    ) -> Result<Option<Bytes>, ReadError> {
        self.apply_durable();
        let is_there = self.queues.borrow().get(&queue).is_some_and(|held| {
            held.timers.is_some() && (held.log_start..held.high_watermark).contains(&offset)
        });
        if !is_there {
            return Ok(None);
        }
        let Some(entry) = self.index.find(queue, offset).await? else { return Ok(None) };
        let payload = self.payloads(&[LogSlice::new(queue, &entry)]).await.remove(0)?;
        let timer = TimerFrame::parse(&payload).map_err(ReadError::Storage)?;
        if timer.dialect != Dialect::RocketMq {
            return Ok(None);
        }
        let mut record = BytesMut::from(timer.message);
        let assigned = Assigned {
            queue_offset: offset,
            physical_offset: queue.locator(offset),
            store_timestamp: entry.append_time,
        };
        let set = record::set_assigned(&mut record, &assigned);
        set.map_err(|error| ReadError::Storage(error.to_string()))?;
        Ok(Some(record.freeze()))
    }
}
