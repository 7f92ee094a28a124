//! A consumer that costs little: librdkafka's batch call on one queue for all partitions. It joins
//! no group, so that neither broker does more than serve fetches.

use crate::error::{Doing, PerfError, Result};
use crate::topic_set::{TopicArgs, TopicSet};
use rdkafka::ClientConfig;
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_consume_start_queue, rd_kafka_consume_stop,
    rd_kafka_last_error, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy,
    rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_topic_destroy, rd_kafka_topic_new,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr, RDKafkaTopic};
use std::collections::HashMap;
use std::ffi::CString;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

/// librdkafka's number for the first record there is.
pub const FROM_BEGINNING: i64 = -2;

const WATERMARK_TIMEOUT: Duration = Duration::from_secs(30);
/// How soon a broker that does not lead a partition yet is asked again.
const NEW_PAUSE: Duration = Duration::from_millis(50);

/// What a broker says of a partition that it is about to lead.
fn is_new(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownTopicOrPartition
    )
}

/// The settings a reader starts from: librdkafka's own defaults, without a group.
///
/// # Errors
/// A setting of the user's without `=`.
pub fn reader_config(args: &TopicArgs) -> Result<ClientConfig> {
    let mut config = args.base_config();
    config.set("enable.auto.commit", "false").set("fetch.error.backoff.ms", "10");
    args.override_config(&mut config)?;
    Ok(config)
}

/// Reads partitions from given offsets. Used by one thread at a time.
pub struct Reader {
    started: Vec<(*mut RDKafkaTopic, i32)>,
    topics: Vec<*mut RDKafkaTopic>,
    /// The index of each topic's first partition.
    first_index: HashMap<*mut RDKafkaTopic, usize>,
    queue: *mut rd_kafka_queue_t,
    messages: Vec<*mut rd_kafka_message_t>,
    client: BaseConsumer,
}

// SAFETY: librdkafka's handles may be used from any thread, and nothing here is shared.
unsafe impl Send for Reader {}

impl Reader {
    /// Connects a reader of no partition yet that takes up to `batch` records at a time.
    ///
    /// # Errors
    /// librdkafka refuses the settings or a topic.
    pub fn new(config: &ClientConfig, topics: &TopicSet, batch: usize) -> Result<Self> {
        let client: BaseConsumer = config.create().doing(|| "creating the consumer".into())?;
        // SAFETY: the client lives; the queue is destroyed in `drop`.
        let queue = unsafe { rd_kafka_queue_new(client.client().native_ptr()) };
        let mut reader = Self {
            started: Vec::new(),
            topics: Vec::new(),
            first_index: HashMap::new(),
            queue,
            messages: vec![ptr::null_mut(); batch],
            client,
        };
        for (i, name) in topics.names().into_iter().enumerate() {
            let name = CString::new(name)
                .map_err(|_| PerfError::Failed("a topic's name has no zero byte".into()))?;
            let native = reader.client.client().native_ptr();
            // SAFETY: the client lives, the name ends with a zero byte, and no configuration is
            // handed over.
            let topic = unsafe { rd_kafka_topic_new(native, name.as_ptr(), ptr::null_mut()) };
            if topic.is_null() {
                return Err(PerfError::Failed(format!("librdkafka refuses topic {name:?}")));
            }
            reader.topics.push(topic);
            reader.first_index.insert(topic, i * topics.partitions());
        }
        Ok(reader)
    }

    /// The first offset and the one after the last, as the broker says: of a partition just created,
    /// once it leads it.
    ///
    /// # Errors
    /// The broker does not answer, or refuses.
    pub fn watermarks(&self, topic: &str, partition: usize) -> Result<(i64, i64)> {
        let deadline = Instant::now() + WATERMARK_TIMEOUT;
        loop {
            match self.client.fetch_watermarks(topic, partition as i32, WATERMARK_TIMEOUT) {
                Err(KafkaError::MetadataFetch(code))
                    if is_new(code) && Instant::now() < deadline =>
                {
                    thread::sleep(NEW_PAUSE);
                }
                asked => {
                    return asked
                        .doing(|| format!("asking for the offsets of {topic}-{partition}"));
                }
            }
        }
    }

    /// Begins to read a partition of the topic with this index.
    ///
    /// # Errors
    /// librdkafka refuses the partition.
    pub fn start(&mut self, topic: usize, partition: usize, offset: i64) -> Result<()> {
        let (topic, partition) = (self.topics[topic], partition as i32);
        // SAFETY: topic and queue are alive as long as `self`.
        let status = unsafe { rd_kafka_consume_start_queue(topic, partition, offset, self.queue) };
        if status != 0 {
            // SAFETY: reads this thread's last error.
            let error = unsafe { rd_kafka_last_error() };
            return Err(KafkaError::MessageConsumption(error.into()))
                .doing(|| format!("starting to read partition {partition}"));
        }
        self.started.push((topic, partition));
        Ok(())
    }

    /// Takes what has come, waiting at most so long for a full batch, and shows each record's
    /// payload with the index of its partition. Returns how many there were.
    ///
    /// # Errors
    /// The broker refuses a fetch in a way that is not tried again.
    pub fn read(&mut self, wait: Duration, mut each: impl FnMut(&[u8], usize)) -> Result<u64> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue lives, and the array has room for as many pointers as it says.
        let count = unsafe {
            rd_kafka_consume_batch_queue(
                self.queue,
                wait_ms,
                self.messages.as_mut_ptr(),
                self.messages.len(),
            )
        };
        let mut records = 0;
        let mut failure = None;
        for &message in &self.messages[..usize::try_from(count).unwrap_or(0)] {
            // SAFETY: librdkafka filled in that many messages; each is read, then destroyed once,
            // and its payload is not kept.
            unsafe {
                let m = &*message;
                match m.err {
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                        let payload = match m.payload.is_null() {
                            true => &[][..],
                            false => std::slice::from_raw_parts(m.payload.cast::<u8>(), m.len),
                        };
                        let first = self.first_index.get(&m.rkt).copied().unwrap_or(0);
                        each(payload, first + m.partition as usize);
                        records += 1;
                    }
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {}
                    error if error.is_error() => {
                        failure = Some(KafkaError::MessageConsumption(error.into()));
                    }
                    _ => {}
                }
                rd_kafka_message_destroy(message);
            }
        }
        match failure {
            Some(error) => Err(error).doing(|| "reading".into()),
            None => Ok(records),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: every partition started is stopped, every handle destroyed once, the topics and
        // the queue before the client, which is a field dropped after this body.
        unsafe {
            for (topic, partition) in self.started.drain(..) {
                rd_kafka_consume_stop(topic, partition);
            }
            for topic in self.topics.drain(..) {
                rd_kafka_topic_destroy(topic);
            }
            rd_kafka_queue_destroy(self.queue);
        }
    }
}
