//! Tells other name servers that this broker is there, as RocketMQ's brokers do: REGISTER_BROKER (103)
//! at the start, when topics change and every 30 s, UNREGISTER_BROKER (104) at the end. Clients of a
//! fleet that is moved over find it there.
//!
//! One thread that may block. A name server that cannot be reached is tried again with the next beat.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use crate::{
    broker::{Job, Mailboxes},
    gateway::rocketmq::{RocketMqSettings, registered_topics, registration},
    wire::rocketmq::{
        RemotingCommand, RequestCode, ResponseCode, body::TopicConfigSerializeWrapper,
    },
};

/// How often name servers hear of the broker; they forget it after 120 s.
const BEAT: Duration = Duration::from_secs(30);

/// How soon they hear of the broker again when one of them could not be told.
const RETRY: Duration = Duration::from_secs(5);

/// How long a name server may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Largest answer of a name server's that is read.
const ANSWER_BYTES: usize = 16 << 20;

/// The thread, until it is stopped.
pub struct Registrar {
    stopping: Arc<AtomicBool>,
    wake: flume::Sender<()>,
    thread: JoinHandle<()>,
}

impl Registrar {
    /// Registers at `addresses`, each a host and its port.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        addresses: &[String],
        settings: Arc<RocketMqSettings>,
        mailboxes: Arc<Mailboxes>,
    ) -> io::Result<Self> {
        let (wake, woken) = flume::bounded(1);
        let stopping = Arc::<AtomicBool>::default();
        let servers = addresses.iter().map(|address| NameServer::new(address)).collect();
        let run = Run { servers, settings, mailboxes, stopping: Arc::clone(&stopping), woken };
        let thread = thread::Builder::new().name("registrar".to_owned()).spawn({
            let change = wake.clone();
            || run.run(change)
        })?;
        Ok(Self { stopping, wake, thread })
    }

    /// Takes the broker off the name servers.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        // A full channel holds a wake-up already.
        let _ = self.wake.try_send(());
        let ended = self.thread.join();
        debug_assert!(ended.is_ok());
    }
}

struct Run {
    servers: Vec<NameServer>,
    settings: Arc<RocketMqSettings>,
    mailboxes: Arc<Mailboxes>,
    stopping: Arc<AtomicBool>,
    /// When it stops, or topics changed.
    woken: flume::Receiver<()>,
}

impl Run {
    fn run(mut self, change: flume::Sender<()>) {
        self.ask(move |broker| broker.watch_topics(change));
        while !self.stopping.load(Ordering::SeqCst) {
            let told = self.register();
            let pause = if told { BEAT } else { RETRY };
            let _ = self.woken.recv_timeout(pause);
        }
        let (code, settings) = (RequestCode::UnregisterBroker, Arc::clone(&self.settings));
        for server in &mut self.servers {
            let mut request = RemotingCommand::request(code, server.next(), Default::default());
            crate::gateway::rocketmq::unregistration(&settings, &mut request);
            if let Err(error) = server.tell(&request) {
                tracing::debug!(address = server.address, %error, "not taken off a name server");
            }
        }
    }

    /// Registers everywhere; false if somewhere it failed.
    fn register(&mut self) -> bool {
        let settings = Arc::clone(&self.settings);
        let topics = self.ask(move |broker| registered_topics(&settings, &broker.cluster()));
        let Some(topics): Option<TopicConfigSerializeWrapper> = topics else { return false };
        let settings = Arc::clone(&self.settings);
        let tell = |server: &mut NameServer| {
            let code = RequestCode::RegisterBroker;
            let mut request = RemotingCommand::request(code, server.next(), Default::default());
            let written = registration(&settings, &topics, &mut request);
            let told = written.map_err(io::Error::other).and_then(|()| server.tell(&request));
            server.said(told)
        };
        // Every one is told, whatever became of the others.
        self.servers.iter_mut().map(tell).filter(|told| !told).count() == 0
    }

    /// Asks the first shard. `None` if it has ended.
    fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::broker::Broker) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = flume::bounded(1);
        let job: Job = Box::new(move |broker| {
            Box::pin(async move {
                let _ = answer.send(work(&broker));
            })
        });
        self.mailboxes[0].send(job).ok()?;
        answered.recv().ok()
    }
}

/// A name server, and the connection to it: one that ends takes the broker off.
struct NameServer {
    address: String,
    stream: Option<TcpStream>,
    opaque: i32,
    /// What was said of it last, which is not repeated.
    failing: bool,
}

impl NameServer {
    fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, opaque: 0, failing: false }
    }

    fn next(&mut self) -> i32 {
        self.opaque = self.opaque.wrapping_add(1);
        self.opaque
    }

    /// Says how it went, when that is news.
    fn said(&mut self, told: io::Result<()>) -> bool {
        let failed = told.is_err();
        match told {
            Err(error) if !self.failing => {
                tracing::warn!(address = self.address, %error, "not registered with a name server");
            }
            Ok(()) if self.failing || self.opaque == 1 => {
                tracing::info!(address = self.address, "registered with a name server");
            }
            _ => {}
        }
        self.failing = failed;
        !failed
    }

    fn tell(&mut self, request: &RemotingCommand<'_>) -> io::Result<()> {
        let told = self.exchange(request);
        if told.is_err() {
            self.stream = None;
        }
        let answer = told?;
        let answer = RemotingCommand::parse(&answer).map_err(io::Error::other)?;
        match answer.code == ResponseCode::Success.number() {
            true => Ok(()),
            false => {
                let remark = answer.remark.as_deref().unwrap_or_default();
                Err(io::Error::other(format!("it answers {}: {remark}", answer.code)))
            }
        }
    }

    /// Sends a request and reads frames until its answer comes.
    fn exchange(&mut self, request: &RemotingCommand<'_>) -> io::Result<Bytes> {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).map_err(io::Error::other)?;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(&self.address)?),
        };
        stream.write_all(&bytes)?;
        loop {
            let frame = read_frame(stream)?;
            let answer = RemotingCommand::parse(&frame).map_err(io::Error::other)?;
            if answer.is_response() && answer.opaque == request.opaque {
                return Ok(frame);
            }
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("it has no address");
    for found in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&found, ANSWER) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ANSWER_BYTES {
        return Err(io::Error::other(format!("its answer has {length} bytes")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes.into())
}
