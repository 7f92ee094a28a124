//! Producers and consumers of librdkafka.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, OwnedHeaders, OwnedMessage},
    producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext},
};

use super::process::PATIENCE;

/// How long one poll of a consumer may take; it ends with the first message.
pub const POLL: Duration = Duration::from_millis(100);

/// How long one poll of a producer takes, whatever happens meanwhile.
const PRODUCER_POLL: Duration = Duration::from_millis(2);

/// A config for clients of the broker at `address`, with `settings` on top.
pub fn config(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "200")
        .set("socket.timeout.ms", "30000")
        .set("log_level", "0");
    set_all(&mut config, settings);
    config
}

fn set_all(config: &mut ClientConfig, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        config.set(*key, *value);
    }
}

/// What became of a message: its offset, or the error.
pub type Outcome = Result<i64, RDKafkaErrorCode>;

#[derive(Default)]
struct Outcomes(Mutex<(Vec<Option<Outcome>>, usize)>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        let mut outcomes = self.0.lock().unwrap();
        assert!(outcomes.0[number].replace(outcome).is_none(), "reported twice");
        outcomes.1 += 1;
    }
}

/// A producer that remembers what became of each message.
pub struct Sender {
    producer: BaseProducer<Outcomes>,
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
}

impl Sent {
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    fn owned_headers(&self) -> Option<OwnedHeaders> {
        let add = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
            headers.insert(rdkafka::message::Header { key, value: value.as_ref() })
        };
        let any = !self.headers.is_empty();
        any.then(|| self.headers.iter().fold(OwnedHeaders::new(), add))
    }
}

impl Sender {
    pub fn new(address: &str, settings: &[(&str, &str)]) -> Self {
        let mut config = config(address, &[("linger.ms", "2"), ("message.timeout.ms", "60000")]);
        set_all(&mut config, settings);
        Self { producer: config.create_with_context(Outcomes::default()).unwrap() }
    }

    /// Puts a message on its way, waiting while too many are.
    pub fn send(&self, topic: &str, partition: i32, message: &Sent) {
        let number = {
            let mut outcomes = self.outcomes();
            outcomes.0.push(None);
            outcomes.0.len() - 1
        };
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number).partition(partition);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        record.timestamp = message.timestamp;
        record.headers = message.owned_headers();
        let deadline = Instant::now() + PATIENCE;
        while let Err((error, back)) = self.producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert!(error == full && Instant::now() < deadline, "{error}");
            self.producer.poll(PRODUCER_POLL);
            record = back;
        }
    }

    fn outcomes(&self) -> std::sync::MutexGuard<'_, (Vec<Option<Outcome>>, usize)> {
        self.producer.context().0.lock().unwrap()
    }

    /// Messages whose outcome is known.
    pub fn known(&self) -> usize {
        self.producer.poll(Duration::ZERO);
        self.outcomes().1
    }

    /// Waits until the outcomes of so many messages are known.
    pub fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.known() < count {
            assert!(Instant::now() < deadline, "{} of {count} were answered", self.known());
            self.producer.poll(PRODUCER_POLL);
        }
    }

    /// Waits for all outcomes and takes them, in the order of sending.
    pub fn finish(&self) -> Vec<Outcome> {
        let count = self.outcomes().0.len();
        self.wait_for(count);
        let mut outcomes = self.outcomes();
        outcomes.1 = 0;
        outcomes.0.drain(..).map(|outcome| outcome.expect("all are known")).collect()
    }

    /// Waits for all outcomes, which must be successes; returns the offsets.
    pub fn delivered(&self) -> Vec<i64> {
        self.finish().into_iter().map(|outcome| outcome.unwrap()).collect()
    }
}

/// Sends a message of its own connection and waits for its outcome.
pub fn send_one(address: &str, topic: &str, value: &str) -> Outcome {
    let sender = Sender::new(address, &[]);
    sender.send(topic, 0, &Sent::value(value));
    sender.finish()[0]
}

/// A consumer that is assigned one partition from an offset on.
pub fn consumer_at(address: &str, topic: &str, partition: i32, offset: Offset) -> BaseConsumer {
    consumer_of(address, &[(topic, partition)], offset)
}

/// A consumer that is assigned some partitions from an offset on.
pub fn consumer_of(address: &str, partitions: &[(&str, i32)], offset: Offset) -> BaseConsumer {
    let config = config(
        address,
        &[
            ("group.id", "reader"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("fetch.wait.max.ms", "100"),
        ],
    );
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// The next `count` messages of a consumer.
pub fn take(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came", taken.len());
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => taken.push(message.detach()),
            // A broker that is away for a moment is none of the reader's errors.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
    taken
}

/// Reads `count` messages of a partition from its first offset on.
pub fn read(address: &str, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
    let consumer = consumer_at(address, topic, partition, Offset::Beginning);
    take(&consumer, count)
}

/// Reads `count` messages of partition 0 from its first offset on as text.
pub fn read_texts(address: &str, topic: &str, count: usize) -> Vec<String> {
    let text = |message: OwnedMessage| {
        String::from_utf8(message.payload().unwrap_or_default().to_vec()).unwrap()
    };
    read(address, topic, 0, count).into_iter().map(text).collect()
}

/// The first offset of a topic's partition 0 whose message is of this time or later, by a consumer.
pub fn offset_at(address: &str, topic: &str, time: i64) -> Offset {
    let consumer: BaseConsumer = config(address, &[("group.id", "times")]).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(time)).unwrap();
    consumer.offsets_for_times(list, PATIENCE).unwrap().elements()[0].offset()
}

/// First and next offset of a partition.
pub fn watermarks(address: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer: BaseConsumer = config(address, &[("group.id", "watermarks")]).create().unwrap();
    consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap()
}
