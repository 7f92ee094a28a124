use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::heartbeat::Heartbeat;
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg},
};

/// A client's TCP connection. Stays on the shard it was made on; one task may read while another
/// writes.
pub struct Connection {
    /// Borrowed only inside a poll, never across one.
    stream: RefCell<TcpStream>,
    peer: SocketAddr,
    touched: Cell<Duration>,
    /// Something was sent since somebody looked.
    sent: Cell<bool>,
    /// Reading was ended.
    ending: Cell<bool>,
}

impl Connection {
    /// Takes over an accepted socket, at `now` on the monotonic clock.
    ///
    /// # Errors
    /// When it is not a connected TCP socket any more.
    pub fn new(socket: OwnedFd, now: Duration) -> io::Result<Self> {
        let socket = std::net::TcpStream::from(socket);
        let peer = socket.peer_addr()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        // SAFETY: the descriptor is a socket this function owns and gives away here.
        let stream = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
        Ok(Self {
            stream: RefCell::new(stream),
            peer,
            touched: Cell::new(now),
            sent: Cell::default(),
            ending: Cell::default(),
        })
    }

    /// Notes that the client has asked for something.
    pub fn touch(&self, now: Duration) {
        self.touched.set(now);
    }

    /// When the client asked for something last, on the monotonic clock.
    #[must_use]
    pub fn touched(&self) -> Duration {
        self.touched.get()
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Appends what has arrived to `buffer`, at most what fits into its capacity, which must have
    /// room. Waits for at least one byte; 0 means the client has closed its side.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| {
            let spare = buffer.spare_capacity_mut();
            assert!(!spare.is_empty(), "the caller makes room");
            // SAFETY: the slice is handed to `recv` alone, which only writes to it.
            let spare = unsafe { &mut *(std::ptr::from_mut(spare) as *mut [u8]) };
            self.poll_receive(context, spare).map_ok(|count| {
                Heartbeat::put_off();
                // SAFETY: `recv` has filled the first `count` bytes of the spare capacity.
                unsafe { buffer.set_len(buffer.len() + count) };
                count
            })
        })
        .await
    }

    /// Takes what is there. glommio is asked only where there is nothing: after it has read all there
    /// was, it asks the kernel at once to be woken for more, which costs a wake-up for each little
    /// that comes while the shard is about to read anyway.
    fn poll_receive(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        // SAFETY: the stream owns the descriptor and is borrowed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        match recv(fd, &mut *into, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Poll::Ready(Ok(count)),
            Err(Errno::AGAIN | Errno::INTR) => Pin::new(&mut *stream).poll_read(context, into),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// Sends the slices in order with one call, as far as the socket takes them now. `None` when it
    /// takes nothing.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let stream = self.stream.borrow();
        // SAFETY: the stream owns the descriptor and is borrowed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(fd.as_fd(), slices, &mut SendAncillaryBuffer::default(), flags) {
            Ok(sent) => {
                self.sent.set(true);
                Ok(Some(sent))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends from one slice, found anew by `slice` at each attempt, and waits until the socket has
    /// taken at least one byte. `slice` calls what it is given with the bytes; where it does not,
    /// there is nothing to send and the result is 0.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn write(&self, mut slice: impl FnMut(&mut dyn FnMut(&[u8]))) -> io::Result<usize> {
        poll_fn(|context| {
            let mut polled = Poll::Ready(Ok(0));
            slice(&mut |bytes| {
                let mut stream = self.stream.borrow_mut();
                polled = Pin::new(&mut *stream).poll_write(context, bytes);
                self.sent.set(self.sent.get() || polled.is_ready());
            });
            polled
        })
        .await
    }

    /// Ends it step by step: reading at first, so that what is owed can still be sent, and at a later
    /// call everything, if nothing was sent since the one before.
    pub fn wind_up(&self) {
        let sent = self.sent.replace(false);
        if self.ending.get() && !sent { self.shutdown() } else { self.stop_reading() }
    }

    /// Ends both directions: a task that reads or writes gets an end or an error.
    pub fn shutdown(&self) {
        self.end(rustix::net::Shutdown::Both);
    }

    /// Ends reading: what has arrived can still be read, then comes the end.
    pub fn stop_reading(&self) {
        self.ending.set(true);
        self.end(rustix::net::Shutdown::Read);
    }

    fn end(&self, direction: rustix::net::Shutdown) {
        let stream = self.stream.borrow();
        // SAFETY: the stream owns the descriptor and is borrowed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        // An already closed connection is what was wanted.
        let _ = rustix::net::shutdown(fd, direction);
    }
}
