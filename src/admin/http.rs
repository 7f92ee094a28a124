//! The HTTP server: one thread, one request a connection.

use std::{
    future::{Future as _, IntoFuture as _},
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

use super::{Collecting, MetricsSource, exposition, process};
use crate::config::Admin;

/// The running server; dropping it ends the thread and all its connections.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<flume::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl AdminServer {
    /// Where it listens, with the port it got.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// What every request can get at.
#[derive(Clone)]
struct Shared {
    source: Arc<dyn MetricsSource>,
    collect_timeout: Duration,
}

impl Shared {
    /// What all shards answered, or what to say if they do not.
    async fn in_time<T>(&self, collecting: Collecting<'_, T>) -> Result<T, Response> {
        tokio::time::timeout(self.collect_timeout, collecting).await.map_err(|_| {
            let seconds = self.collect_timeout.as_secs_f64();
            let reason = format!("not all shards answered within {seconds} s\n");
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        })
    }
}

/// Serves `/metrics`, `/top`, `/healthz` and `/readyz` on a thread named `admin`.
///
/// # Errors
/// The thread or its runtime could not be started.
pub fn serve(
    listener: std::net::TcpListener,
    source: Arc<dyn MetricsSource>,
    config: &Admin,
) -> io::Result<AdminServer> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let lifetime = Duration::from_millis(config.timeout_ms);
    let bounded =
        Bounded { listener, lifetime, open: Arc::default(), most: config.max_connections as usize };
    // Half the lifetime leaves the other half for the answer's way to the client.
    let shared = Shared { source, collect_timeout: lifetime / 2 };
    let (stop, stopped) = flume::bounded::<()>(1);
    let run = move || {
        runtime.block_on(futures_lite::future::or(
            async { _ = axum::serve(bounded, routes(shared)).into_future().await },
            async { _ = stopped.recv_async().await },
        ));
    };
    let thread = thread::Builder::new().name("admin".to_owned()).spawn(run)?;
    Ok(AdminServer { address, stop: Some(stop), thread: Some(thread) })
}

fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/", get(async || "mainstem: /metrics, /top, /healthz, /readyz\n"))
        .route("/metrics", get(metrics))
        .route("/top", get(top))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .layer(middleware::map_response(async |mut response: Response| {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }))
        .with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.in_time(shared.source.collect()).await {
        Ok(mut snapshot) => {
            process::add(&mut snapshot);
            ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], snapshot.text()).into_response()
        }
        Err(refusal) => refusal,
    }
}

async fn top(State(shared): State<Shared>) -> Response {
    let found = shared.in_time(shared.source.top()).await;
    match found.map(|top| serde_json::to_string(&top)) {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(refusal) => refusal,
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    match shared.source.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// A listener that never has more than `most` connections open, each for `lifetime` at most.
struct Bounded {
    listener: TcpListener,
    lifetime: Duration,
    open: Arc<AtomicUsize>,
    most: usize,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Only this task adds, so that nothing comes between look and addition.
                    if self.open.load(Ordering::Relaxed) < self.most {
                        let slot = Slot::taken_of(&self.open);
                        let deadline = Box::pin(sleep(self.lifetime));
                        return (Connection { _slot: slot, stream, deadline }, peer);
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait until some are free again.
                    tracing::warn!(%error, "admin cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A place among the open connections, given back when dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn taken_of(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that fails once its time is over.
struct Connection {
    /// The first to go: who sees its connection end may open another.
    _slot: Slot,
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    /// The stream, while there is time. Wakes the task when time is over.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.deadline.as_mut().poll(context) {
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_shutdown(context)
    }
}
