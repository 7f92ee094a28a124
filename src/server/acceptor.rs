//! Takes connections in and deals them out to the shards.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    env::Clock,
    gateway::{Complaints, Face},
};

/// How long to wait when no descriptor is left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A connection on its way to its shard.
pub struct Accepted {
    /// The socket.
    pub socket: OwnedFd,
    /// What its client speaks.
    pub face: Face,
    /// To be kept while the connection lives.
    pub place: Place,
}

/// How many connections may be open at a time, over all listeners.
#[derive(Clone)]
pub struct Places {
    open: Arc<AtomicUsize>,
    max: usize,
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// Connections open now.
    #[must_use]
    pub fn open_counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    fn take(&self) -> Option<Place> {
        let place = Place { open: Arc::clone(&self.open) };
        (self.open.fetch_add(1, Ordering::Relaxed) < self.max).then_some(place)
    }
}

/// One of the connections that may be open at a time; counts until it is dropped.
pub struct Place {
    open: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread that accepts on one listener. One acceptor hands out all connections of a listener, so
/// that shards get equally many and no second process can share the port.
pub struct Acceptor {
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Deals connections out to `shards` in turn, as far as there are `places`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        listener: TcpListener,
        face: Face,
        shards: Vec<flume::Sender<Accepted>>,
        places: Places,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let listener = Arc::new(listener);
        let stopping = Arc::<AtomicBool>::default();
        let run = Run {
            listener: Arc::clone(&listener),
            face,
            stopping: Arc::clone(&stopping),
            shards,
            places,
            clock,
            complaints: Complaints::default(),
        };
        let thread =
            thread::Builder::new().name("acceptor".to_owned()).spawn(move || run.accept())?;
        Ok(Self { listener, stopping, thread: Some(thread) })
    }

    /// Accepts no more.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // A listener that is shut down lets `accept` return.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            debug_assert!(ended.is_ok());
        }
    }
}

struct Run {
    listener: Arc<TcpListener>,
    face: Face,
    stopping: Arc<AtomicBool>,
    shards: Vec<flume::Sender<Accepted>>,
    places: Places,
    clock: Arc<dyn Clock>,
    complaints: Complaints,
}

impl Run {
    fn accept(&self) {
        let mut next = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    self.deal(socket.into(), peer, next);
                    next = (next + 1) % self.shards.len();
                }
                Err(_) if self.stopping.load(Ordering::SeqCst) => return,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    thread::sleep(EXHAUSTED_PAUSE);
                }
            }
        }
    }

    fn deal(&self, socket: OwnedFd, peer: SocketAddr, shard: usize) {
        let Some(place) = self.places.take() else {
            if let Some(left_out) = self.complaints.admit(self.clock.monotonic()) {
                let limit = self.places.max;
                tracing::warn!(%peer, limit, left_out, "connection refused: too many are open");
            }
            return;
        };
        // A shard that has ended takes none; dropping the socket closes it.
        let _ = self.shards[shard].send(Accepted { socket, face: self.face, place });
    }
}
