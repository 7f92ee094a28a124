//! How far a topic's producers and consumers are, as its broker tells while they work.

use super::control::STALL_TIMEOUT;
use super::remoting_setup::{GET_MAX_OFFSET, RemotingSetup};
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the broker is asked: a few small requests, next to thousands of messages.
const LOOK: Duration = Duration::from_millis(50);

/// A topic of RocketMQ's, and the connection that is asked about it.
pub struct TopicWatch {
    address: String,
    broker: RemotingSetup,
    topic: RawTopics,
}

impl TopicWatch {
    /// Creates the topic, at the broker that the name server knows.
    ///
    /// # Errors
    /// One of them cannot be reached or refuses.
    pub fn create(name_server: &str, topic: &str, queues: u32) -> Result<Self> {
        let topic = RawTopics::new(topic, 1, queues);
        let address = RemotingSetup::open_within(name_server, STALL_TIMEOUT)?.broker()?.address;
        let mut broker = RemotingSetup::open_within(&address, STALL_TIMEOUT)?;
        broker.create_topics(&topic)?;
        Ok(Self { address, broker, topic })
    }

    /// The broker's address.
    pub fn broker(&self) -> &str {
        &self.address
    }

    /// Messages that were ever stored.
    ///
    /// # Errors
    /// The broker is gone or refuses.
    pub fn stored(&mut self) -> Result<u64> {
        sum(&self.broker.offsets(&self.topic, GET_MAX_OFFSET)?)
    }

    /// Messages that lie before a group's offsets.
    ///
    /// # Errors
    /// The broker is gone or refuses, or the group has no offsets.
    pub fn consumed(&mut self, group: &str) -> Result<u64> {
        sum(&self.broker.group_offsets(&self.topic, group)?)
    }

    /// Looks until there are so many of what is counted. Returns how many there are then.
    ///
    /// # Errors
    /// The broker is gone or refuses, or there were no more of them for a minute.
    pub fn wait_for(
        &mut self,
        count: u64,
        counted: impl Fn(&mut Self) -> Result<u64>,
    ) -> Result<u64> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = counted(self)?;
            if now >= count {
                return Ok(now);
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > STALL_TIMEOUT {
                let seconds = STALL_TIMEOUT.as_secs();
                let why = format!("no progress for {seconds} s: {now} messages of {count}");
                return Err(PerfError::Failed(why));
            }
            sleep(LOOK);
        }
    }
}

/// Queues begin at 0: their offsets count their messages.
fn sum(offsets: &[i64]) -> Result<u64> {
    let offset = |offset: &i64| {
        u64::try_from(*offset).map_err(|_| PerfError::Failed(format!("an offset of {offset}")))
    };
    offsets.iter().map(offset).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_counted_together() {
        assert_eq!(sum(&[3, 0, 4]).expect("they are whole"), 7);
        assert_eq!(sum(&[3, -1]).expect_err("no offset").to_string(), "an offset of -1");
    }
}
