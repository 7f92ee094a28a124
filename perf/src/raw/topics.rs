//! The topics a run goes over: their names, and how they come to be.

use super::control::STALL_TIMEOUT;
use super::setup_connection::{LATEST, SETUP_TIMEOUT, SetupConnection};
use crate::error::{PerfError, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Topics of one CreateTopics request.
const TOPICS_PER_REQUEST: usize = 1_000;
/// Partitions of one ListOffsets request.
const PARTITIONS_PER_REQUEST: usize = 10_000;

/// Topics of equal numbers of partitions. A partition's *place* counts through the topics first, so
/// that places in a row are different topics.
#[derive(Clone, Debug)]
pub struct RawTopics {
    prefix: String,
    topics: u32,
    partitions: u32,
    /// Digits after the prefix; a lone topic has none. All names are of one length, so that a
    /// prepared frame can take any of them.
    digits: usize,
}

impl RawTopics {
    /// So many topics named PREFIX-0000 and on, or one named PREFIX: as librdkafka's workloads do.
    pub fn new(prefix: &str, topics: u32, partitions: u32) -> Self {
        let (topics, partitions) = (topics.max(1), partitions.max(1));
        let digits = if topics == 1 { 0 } else { (topics - 1).to_string().len().max(4) };
        Self { prefix: prefix.into(), topics, partitions, digits }
    }

    /// Partitions of all topics together.
    pub fn places(&self) -> u32 {
        self.topics * self.partitions
    }

    /// Partitions of each topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The topic and the partition in it.
    pub fn place(&self, place: u32) -> (u32, u32) {
        (place % self.topics, place / self.topics)
    }

    /// The place of a topic's partition; none if there is no such.
    pub fn place_of(&self, name: &[u8], partition: i32) -> Option<u32> {
        let partition = u32::try_from(partition).ok().filter(|p| *p < self.partitions)?;
        let number = name.strip_prefix(self.prefix.as_bytes())?;
        let topic = match self.digits {
            0 => number.is_empty().then_some(0)?,
            _ => std::str::from_utf8(number.strip_prefix(b"-")?).ok()?.parse().ok()?,
        };
        (topic < self.topics).then_some(partition * self.topics + topic)
    }

    /// A topic's name.
    pub fn name(&self, topic: u32) -> String {
        match self.digits {
            0 => self.prefix.clone(),
            digits => format!("{}-{topic:0digits$}", self.prefix),
        }
    }

    /// Makes one topic's name that of another.
    pub fn write_number(&self, topic: u32, name: &mut [u8]) {
        let mut left = topic;
        for digit in name.iter_mut().rev().take(self.digits) {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }

    /// Appends a name with its length before it.
    pub fn put_name(&self, topic: u32, frame: &mut Vec<u8>) {
        let dash = usize::from(self.digits > 0);
        let length = self.prefix.len() + dash + self.digits;
        frame.extend_from_slice(&(length as u16).to_be_bytes());
        let at = frame.len();
        frame.extend_from_slice(self.prefix.as_bytes());
        if self.digits > 0 {
            frame.push(b'-');
            frame.resize(at + length, b'0');
            self.write_number(topic, &mut frame[at..]);
        }
    }

    /// Creates the topics that do not exist, and waits until each partition can be used. Returns the
    /// offset after the last record of each place.
    ///
    /// # Errors
    /// The broker refuses, or does not lead all of them in time.
    pub fn create(&self, brokers: &str) -> Result<Vec<i64>> {
        let mut connection = SetupConnection::open(brokers)?;
        let numbers: Vec<u32> = (0..self.topics).collect();
        for chunk in numbers.chunks(TOPICS_PER_REQUEST) {
            let names = chunk.iter().map(|&topic| self.name(topic));
            connection.create_topics(names, self.partitions)?;
        }
        let deadline = Instant::now() + SETUP_TIMEOUT;
        loop {
            match self.offsets_by(&mut connection, LATEST) {
                // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER: soon.
                Err(PerfError::Refused { code: 3 | 5 | 6, .. }) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    /// The offset of each place for a time: [`LATEST`], or the earliest.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn offsets(&self, brokers: &str, time: i64) -> Result<Vec<i64>> {
        self.offsets_by(&mut SetupConnection::open(brokers)?, time)
    }

    /// The offset after the last record of each place, from a broker that may have stopped.
    ///
    /// # Errors
    /// The broker refuses, or does not answer within [`STALL_TIMEOUT`].
    pub fn ends(&self, brokers: &str) -> Result<Vec<i64>> {
        self.offsets_by(&mut SetupConnection::open_within(brokers, STALL_TIMEOUT)?, LATEST)
    }

    fn offsets_by(&self, connection: &mut SetupConnection, time: i64) -> Result<Vec<i64>> {
        let mut offsets = vec![0; self.places() as usize];
        let numbers: Vec<u32> = (0..self.topics).collect();
        let topics = PARTITIONS_PER_REQUEST.div_ceil(self.partitions as usize);
        for chunk in numbers.chunks(topics) {
            let names = chunk.iter().map(|&topic| self.name(topic));
            connection.list_offsets(names, self.partitions, time, |name, partition, offset| {
                if let Some(place) = self.place_of(name.as_bytes(), partition) {
                    offsets[place as usize] = offset;
                }
            })?;
        }
        Ok(offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_belong_together() {
        for topics in [RawTopics::new("one", 1, 6), RawTopics::new("many", 20_000, 3)] {
            for place in (0..topics.places()).step_by(7) {
                let (topic, partition) = topics.place(place);
                let name = topics.name(topic);
                assert_eq!(topics.place_of(name.as_bytes(), partition as i32), Some(place));
                let mut other = topics.name(0).into_bytes();
                topics.write_number(topic, &mut other);
                assert_eq!(other, name.as_bytes());
                let mut put = Vec::new();
                topics.put_name(topic, &mut put);
                assert_eq!(put[2..], *name.as_bytes());
            }
            assert_eq!(topics.place_of(b"one-1", 0), None);
            assert_eq!(topics.place_of(topics.name(0).as_bytes(), 6), None);
        }
    }
}
