//! A producer that costs little: librdkafka's produce call on a topic handle, without the look-up
//! by name that a thousand topics would make expensive.

use crate::error::{Doing, PerfError, Result};
use crate::histogram::new_histogram;
use crate::topic_set::{TopicArgs, TopicSet};
use crate::workload::Keys;
use clap::Args;
use hdrhistogram::Histogram;
use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_produce, rd_kafka_queue_destroy,
    rd_kafka_queue_get_main, rd_kafka_queue_length, rd_kafka_topic_destroy, rd_kafka_topic_new,
};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::types::{RDKafkaQueue, RDKafkaRespErr, RDKafkaTopic};
use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a sender sleeps that has nothing to do: long enough to cost nothing, short enough for
/// the queue not to run dry.
const PAUSE: Duration = Duration::from_micros(200);

/// How many records wait for their acknowledgement, unless the user says otherwise.
pub const QUEUE_RECORDS: usize = 100_000;

/// How records are sent. The defaults are those of the anchors: acks=all, no compression.
#[derive(Args, Debug, Clone)]
pub struct ProducerArgs {
    /// Bytes of each record; at least 32, which the tool's own header takes.
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// How long a batch may wait for more records, in milliseconds. [default: 5; `latency`: 0]
    #[arg(long)]
    pub linger_ms: Option<u32>,
    /// The largest batch, in bytes.
    #[arg(long, default_value_t = 1_000_000)]
    pub batch_bytes: usize,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    pub compression: String,
    /// Whether the broker checks sequence numbers, as the Java client asks for by default. With
    /// it, librdkafka keeps at most five requests in flight.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub idempotence: bool,
    /// How many records of each producer may be waiting for their acknowledgement.
    #[arg(long, default_value_t = QUEUE_RECORDS)]
    pub queue_records: usize,
    /// How many clients write, each from a thread of its own.
    #[arg(long, default_value_t = 1)]
    pub producers: usize,
    /// How keys are chosen; a key decides its records' partition.
    #[arg(long, value_enum, default_value_t = Keys::None)]
    pub keys: Keys,
}

/// What is counted as acknowledgements come in. Lives as long as its producer; written by
/// whichever thread polls it.
pub struct Deliveries {
    epoch: Instant,
    acknowledged: AtomicU64,
    errors: AtomicU64,
    waits: AtomicU64,
    latency_ns: Mutex<Histogram<u64>>,
    delay_ns: Mutex<Histogram<u64>>,
    last_error: Mutex<Option<String>>,
}

impl Deliveries {
    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Records given up so far.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// How often its queue was full so far.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Takes what was recorded since the last time, counted from the intended send times: until
    /// the acknowledgement, and until the client took the record.
    pub fn take_latencies(&self) -> (Histogram<u64>, Histogram<u64>) {
        let take = |held: &Mutex<Histogram<u64>>| {
            std::mem::replace(&mut *held.lock().expect("no holder panics"), new_histogram())
        };
        (take(&self.latency_ns), take(&self.delay_ns))
    }

    /// The last thing that went wrong, if anything did.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().expect("no holder panics").clone()
    }

    fn nanoseconds_since(&self, intended_ns: u64) -> u64 {
        (self.epoch.elapsed().as_nanos() as u64).saturating_sub(intended_ns)
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        *self.last_error.lock().expect("no holder panics") = Some(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Deliveries {
    /// When the record was to be sent, in nanoseconds since the epoch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, intended_ns: usize) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                let took = self.nanoseconds_since(intended_ns as u64);
                self.latency_ns.lock().expect("no holder panics").saturating_record(took);
            }
            Err((error, _)) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                *self.last_error.lock().expect("no holder panics") = Some(error.to_string());
            }
        }
    }
}

/// A producer over a set of topics. Used by one thread at a time.
pub struct Producer {
    topics: Vec<TopicHandle>,
    partitions: usize,
    events: EventQueue,
    client: BaseProducer<Deliveries>,
}

/// librdkafka's handle of a topic, which ends before its client.
struct TopicHandle(*mut RDKafkaTopic);

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for TopicHandle {}

/// librdkafka's handle of the queue that acknowledgements come through, which ends before its client.
struct EventQueue(*mut RDKafkaQueue);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for EventQueue {}

impl Producer {
    /// Connects a producer; send times are counted from `epoch`.
    ///
    /// # Errors
    /// librdkafka refuses the settings.
    pub fn new(
        topic_args: &TopicArgs,
        args: &ProducerArgs,
        topics: &TopicSet,
        epoch: Instant,
    ) -> Result<Self> {
        let mut config = topic_args.base_config();
        config
            .set("acks", "all")
            // Kafka needs more than a minute for the first records of some thousand partitions.
            .set("message.timeout.ms", "600000")
            .set("linger.ms", args.linger_ms.unwrap_or(5).to_string())
            .set("batch.size", args.batch_bytes.to_string())
            .set("batch.num.messages", "100000")
            .set("compression.type", &args.compression)
            .set("enable.idempotence", args.idempotence.to_string())
            .set("queue.buffering.max.messages", args.queue_records.to_string())
            .set("queue.buffering.max.kbytes", "2097151");
        topic_args.override_config(&mut config)?;
        let deliveries = Deliveries {
            epoch,
            acknowledged: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            latency_ns: Mutex::new(new_histogram()),
            delay_ns: Mutex::new(new_histogram()),
            last_error: Mutex::new(None),
        };
        let client: BaseProducer<Deliveries> =
            config.create_with_context(deliveries).doing(|| "creating the producer".into())?;
        let mut handles = Vec::new();
        for name in topics.names() {
            let name = CString::new(name)
                .map_err(|_| PerfError::Failed("a topic's name has no zero byte".into()))?;
            // SAFETY: the client lives, the name ends with a zero byte, and no configuration is
            // handed over.
            let handle = unsafe {
                rd_kafka_topic_new(client.client().native_ptr(), name.as_ptr(), ptr::null_mut())
            };
            if handle.is_null() {
                return Err(PerfError::Failed(format!("librdkafka refuses topic {name:?}")));
            }
            handles.push(TopicHandle(handle));
        }
        // SAFETY: the client lives.
        let events = EventQueue(unsafe { rd_kafka_queue_get_main(client.client().native_ptr()) });
        Ok(Self { topics: handles, partitions: topics.partitions(), events, client })
    }

    /// Hands over one record; `false` means that the queue is full and nothing was taken.
    ///
    /// # Errors
    /// librdkafka refuses the record for good.
    pub fn send(
        &self,
        partition: usize,
        key: &[u8],
        payload: &[u8],
        intended_ns: u64,
    ) -> Result<bool> {
        let topic = &self.topics[partition / self.partitions];
        // SAFETY: the handle is alive as long as `self`; payload and key are copied within the
        // call, so that they are not written to and not kept; the opaque value is never followed.
        let status = unsafe {
            rd_kafka_produce(
                topic.0,
                (partition % self.partitions) as i32,
                RD_KAFKA_MSG_F_COPY,
                payload.as_ptr().cast_mut().cast(),
                payload.len(),
                key.as_ptr().cast(),
                key.len(),
                intended_ns as usize as *mut _,
            )
        };
        if status == 0 {
            return Ok(true);
        }
        // SAFETY: reads this thread's last error.
        match unsafe { rd_kafka_last_error() } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                self.deliveries().waits.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            error => Err(KafkaError::MessageProduction(error.into()))
                .doing(|| "handing over a record".into()),
        }
    }

    /// Takes in the acknowledgements that have come, without waiting. `BaseProducer::poll` itself
    /// takes those of one batch of one partition.
    pub fn poll(&self) {
        // SAFETY: the queue is alive as long as `self`.
        while unsafe { rd_kafka_queue_length(self.events.0) } > 0 {
            self.client.poll(Duration::ZERO);
        }
    }

    /// Takes in acknowledgements after a short sleep. `BaseProducer::poll` with a timeout would
    /// spin through its last millisecond, on a core the broker has a use for.
    pub fn pause(&self) {
        thread::sleep(PAUSE);
        self.poll();
    }

    /// Waits until every record was acknowledged or given up.
    ///
    /// # Errors
    /// Some were neither by then.
    pub fn flush(&self, at_most: Duration) -> Result<()> {
        let deadline = Instant::now() + at_most;
        while self.client.in_flight_count() > 0 {
            if Instant::now() > deadline {
                let left = self.client.in_flight_count();
                return Err(PerfError::Failed(format!("{left} records are still unacknowledged")));
            }
            self.pause();
        }
        Ok(())
    }

    /// What came of its records.
    pub fn deliveries(&self) -> &Arc<Deliveries> {
        self.client.context()
    }

    /// Notes how late a record was taken that was to be sent then.
    pub fn note_delay(&self, intended_ns: u64) {
        let deliveries = self.deliveries();
        let late = deliveries.nanoseconds_since(intended_ns);
        deliveries.delay_ns.lock().expect("no holder panics").saturating_record(late);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: each handle is destroyed once, and before the client, which is a field
            // dropped after this body.
            unsafe { rd_kafka_topic_destroy(topic.0) };
        }
        // SAFETY: destroyed once, and before the client.
        unsafe { rd_kafka_queue_destroy(self.events.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rdkafka::producer::PurgeConfig;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        topics: TopicArgs,
        #[command(flatten)]
        producer: ProducerArgs,
    }

    #[test]
    fn one_look_takes_in_all_that_has_come() {
        let line = ["perf", "--brokers", "127.0.0.1:1", "--idempotence", "false"];
        let options = Options::parse_from(line);
        let topics = options.topics.topic_set(3, 1);
        let producer = Producer::new(&options.topics, &options.producer, &topics, Instant::now())
            .expect("it needs no broker");
        for partition in 0..3 {
            assert!(producer.send(partition, b"", b"x", 0).expect("it is queued"));
        }
        // Each topic's record is given up by itself, before this returns.
        producer.client.purge(PurgeConfig::default().queue());
        producer.poll();
        assert_eq!(producer.deliveries().errors(), 3);
    }
}
