//! What happens before RocketMQ's workloads: the broker's address, topics, offsets.

use super::connection::resolve;
use super::control::STALL_TIMEOUT;
use super::remoting_frame::{Answer, Serialization, write};
use super::setup_connection::SETUP_TIMEOUT;
use super::topics::RawTopics;
use crate::error::{Doing, PerfError, Result};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a broker may take to tell its name server that it is there.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);
/// RocketMQ shows what it stored a moment after it answered.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);
const QUERY_CONSUMER_OFFSET: i16 = 14;
const UPDATE_AND_CREATE_TOPIC: i16 = 17;
const GET_ROUTEINFO_BY_TOPIC: i16 = 105;
const GET_BROKER_CLUSTER_INFO: i16 = 106;
/// The answer of a name server that does not know a topic.
const TOPIC_NOT_EXIST: i64 = 17;
/// Asks for the offset after a queue's last message.
pub const GET_MAX_OFFSET: i16 = 30;
/// Asks for the offset of a queue's first message.
pub const GET_MIN_OFFSET: i16 = 31;

/// A broker as its name server tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBroker {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// Messages that were ever stored in these topics, which their queues' ends tell, once these are so
/// many, or half a minute has passed. Topics that there are not hold none.
///
/// # Errors
/// The name server or its broker cannot be reached or refuses.
pub fn messages_stored(name_server: &str, topics: &[String], at_least: u64) -> Result<u64> {
    let mut names = RemotingSetup::open_within(name_server, STALL_TIMEOUT)?;
    let mut broker = RemotingSetup::open_within(&names.broker()?.address, STALL_TIMEOUT)?;
    let mut queues = Vec::new();
    for topic in topics {
        queues.extend((0..names.queues(topic)?).map(|queue| (topic, queue)));
    }
    let deadline = Instant::now() + VISIBLE_TIMEOUT;
    loop {
        let mut ends = queues.iter().map(|&(t, queue)| broker.offset(GET_MAX_OFFSET, t, queue));
        let stored = ends.try_fold(0, |sum, end| end.map(|end| sum + end as u64))?;
        if stored >= at_least || Instant::now() > deadline {
            return Ok(stored);
        }
        sleep(Duration::from_millis(50));
    }
}

/// A connection that waits for each answer.
pub struct RemotingSetup {
    stream: TcpStream,
    opaque: i32,
}

impl RemotingSetup {
    /// Connects to a name server or a broker, before a measurement.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open(address: &str) -> Result<Self> {
        Self::open_within(address, SETUP_TIMEOUT)
    }

    /// Connects to one whose answers may take so long.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open_within(address: &str, timeout: Duration) -> Result<Self> {
        let doing = || format!("connecting to {address}");
        let stream = TcpStream::connect_timeout(&resolve(address)?, timeout).doing(doing)?;
        stream.set_read_timeout(Some(timeout)).doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        Ok(Self { stream, opaque: 0 })
    }

    /// The broker that a name server knows. One just started may yet have to tell it.
    ///
    /// # Errors
    /// It knows none, and does not hear of one in time. It knows more than one: RocketMQ's producers
    /// would send to all of them.
    pub fn broker(&mut self) -> Result<NamedBroker> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        loop {
            let frame = self.call(GET_BROKER_CLUSTER_INFO, &[])?;
            let answer = success(&frame, "asking the name server for brokers")?;
            let body = String::from_utf8_lossy(answer.body);
            let brokers = body.matches("\"brokerAddrs\"").count();
            if brokers > 1 {
                let why = format!("the name server knows {brokers} brokers, and one is measured");
                return Err(PerfError::Failed(why));
            }
            match named_broker(&body) {
                Some(broker) => return Ok(broker),
                None if Instant::now() < deadline => sleep(Duration::from_millis(50)),
                None => {
                    let why = format!("the name server knows no broker: {body}");
                    return Err(PerfError::Failed(why));
                }
            }
        }
    }

    /// Creates the topics, or sets their number of queues.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn create_topics(&mut self, topics: &RawTopics) -> Result<()> {
        let places = (0..topics.places()).map(|place| topics.place(place));
        let mut firsts = places.take_while(|(_, queue)| *queue == 0);
        firsts
            .try_for_each(|(topic, _)| self.create_topic(&topics.name(topic), topics.partitions()))
    }

    /// The offsets of all queues in the order of their places.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn offsets(&mut self, topics: &RawTopics, code: i16) -> Result<Vec<i64>> {
        let places = (0..topics.places()).map(|place| topics.place(place));
        places.map(|(topic, queue)| self.offset(code, &topics.name(topic), queue)).collect()
    }

    /// A group's offsets in all queues, in the order of their places.
    ///
    /// # Errors
    /// The broker refuses, or the group has none.
    pub fn group_offsets(&mut self, topics: &RawTopics, group: &str) -> Result<Vec<i64>> {
        let places = (0..topics.places()).map(|place| topics.place(place));
        let of = |(topic, queue)| {
            let group = [("consumerGroup", group)];
            self.ask_offset(QUERY_CONSUMER_OFFSET, &topics.name(topic), queue, &group)
        };
        places.map(of).collect()
    }

    /// How many queues of a topic can be read, as a name server tells; none if there is no such topic.
    fn queues(&mut self, topic: &str) -> Result<u32> {
        let frame = self.call(GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)])?;
        if Answer::read(&frame).is_some_and(|answer| answer.code == TOPIC_NOT_EXIST) {
            return Ok(0);
        }
        let doing = format!("asking for the route of {topic}");
        let answer = success(&frame, &doing)?;
        let body = String::from_utf8_lossy(answer.body);
        read_queues(&body).ok_or_else(|| PerfError::Failed(format!("{doing}: {body}")))
    }

    fn create_topic(&mut self, topic: &str, queues: u32) -> Result<()> {
        let queues = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &queues),
            ("writeQueueNums", &queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        let frame = self.call(UPDATE_AND_CREATE_TOPIC, &fields)?;
        success(&frame, &format!("creating {topic}")).map(drop)
    }

    fn offset(&mut self, code: i16, topic: &str, queue: u32) -> Result<i64> {
        self.ask_offset(code, topic, queue, &[])
    }

    fn ask_offset(
        &mut self,
        code: i16,
        topic: &str,
        queue: u32,
        more: &[(&str, &str)],
    ) -> Result<i64> {
        let queue_id = queue.to_string();
        let fields = [&[("topic", topic), ("queueId", queue_id.as_str())], more].concat();
        let frame = self.call(code, &fields)?;
        let doing = format!("asking for an offset of {topic}-{queue}");
        let answer = success(&frame, &doing)?;
        answer.number("offset").ok_or_else(|| PerfError::Failed(format!("{doing}: no offset")))
    }

    fn call(&mut self, code: i16, fields: &[(&str, &str)]) -> Result<Vec<u8>> {
        self.opaque += 1;
        let doing = || format!("asking (request code {code})");
        let frame = write(code, self.opaque, Serialization::Json, fields, b"");
        self.stream.write_all(&frame).doing(doing)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).doing(doing)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).doing(doing)?;
        Ok(answer)
    }
}

fn success<'a>(frame: &'a [u8], doing: &str) -> Result<Answer<'a>> {
    let failed = |why: String| PerfError::Failed(format!("{doing}: {why}"));
    let answer = Answer::read(frame).ok_or_else(|| failed("an answer that ends early".into()))?;
    match answer.code {
        0 => Ok(answer),
        code => {
            let text = String::from_utf8_lossy(frame);
            Err(failed(format!("response code {code}: {text}")))
        }
    }
}

/// Finds name and master's address in a cluster's description. RocketMQ leaves the quotes away from
/// names that are numbers, so it is no JSON.
fn named_broker(body: &str) -> Option<NamedBroker> {
    let (_, addresses) = body.split_once("\"brokerAddrs\":{")?;
    let addresses = addresses.split_once('}')?.0;
    let master = addresses.split(',').find_map(|pair| {
        let (id, address) = pair.split_once(':')?;
        (id.trim_matches('"') == "0").then(|| address.trim_matches('"').to_owned())
    })?;
    let (_, name) = body.split_once("\"brokerName\":\"")?;
    Some(NamedBroker { name: name.split_once('"')?.0.to_owned(), address: master })
}

/// Finds the number of queues in the route of a topic that one broker has: no JSON either.
fn read_queues(body: &str) -> Option<u32> {
    let (_, number) = body.split_once("\"readQueueNums\":")?;
    let end = number.find(|c: char| !c.is_ascii_digit())?;
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_tells_the_number_of_queues() {
        let body = "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"b\"}],\
                    \"queueDatas\":[{\"perm\":6,\"readQueueNums\":12,\"writeQueueNums\":4}]}";
        assert_eq!(read_queues(body), Some(12));
        assert_eq!(read_queues("{}"), None);
    }

    #[test]
    fn the_master_is_found_in_both_ways_of_writing() {
        for id in ["0", "\"0\""] {
            let body = format!(
                "{{\"brokerAddrTable\":{{\"b\":{{\"brokerAddrs\":{{1:\"10.0.0.2:1\",{id}:\"10.0.0.1:10911\"}},\
                 \"brokerName\":\"b\",\"cluster\":\"c\"}}}}}}"
            );
            let expected = NamedBroker { name: "b".into(), address: "10.0.0.1:10911".into() };
            assert_eq!(named_broker(&body), Some(expected));
        }
        assert_eq!(named_broker("{\"brokerAddrTable\":{}}"), None);
    }
}
