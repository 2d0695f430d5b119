//! Accepts connections and serves each until it ends, idles for too long, or the gateway stops.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Config;
use super::observe;
use super::service::Service;

/// How long to wait when the system has no socket for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper accepts no smaller buffer for a request's head.
const MIN_HEAD: usize = 8 * 1024;

/// One bound socket and what answers on it.
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) max_connections: usize,
    pub(super) limits: Limits,
    pub(super) service: Service,
}

/// What bounds one connection.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    max_head: usize,
    max_streams: u32,
    head_timeout: Duration,
    drain_timeout: Duration,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_head: usize::try_from(config.max_head.as_u64()).unwrap_or(usize::MAX).max(MIN_HEAD),
            max_streams: config.max_streams,
            head_timeout: config.head_timeout,
            drain_timeout: config.drain_timeout,
        }
    }
}

impl Listener {
    /// Accepts until `stop`; connections go on in `tasks`.
    pub(super) async fn serve(self, tasks: TaskTracker, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.max_connections.max(1)));
        let service = Arc::new(self.service);
        while let Some((stream, peer, place)) = next(&self.socket, &places, &stop).await {
            let connection = serve_connection(stream, peer, service.clone(), self.limits, stop.clone());
            let counted = observe::connection(self.name);
            tasks.spawn(async move {
                connection.await;
                drop((counted, place));
            });
        }
    }
}

/// Waits for a free place, then for a connection; `None` once `stop` was asked for.
async fn next(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let accepted = async {
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    limits: Limits,
    stop: CancellationToken,
) {
    // A small answer must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "cannot switch off delays");
    }
    let activity = Activity::default();
    let answer = |request: Request<Incoming>| {
        let (service, under_way) = (service.clone(), activity.begin());
        async move {
            let response = service.answer(request, peer).await;
            drop(under_way);
            Ok::<_, std::convert::Infallible>(response)
        }
    };
    let builder = builder(limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
    tokio::select! {
        ended = connection.as_mut() => return report(ended),
        () = stop.cancelled() => {}
        () = activity.idle(limits.head_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    match tokio::time::timeout(limits.drain_timeout, connection).await {
        Ok(ended) => report(ended),
        Err(_) => tracing::debug!("a connection was cut: its requests did not end in time"),
    }
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.max_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.head_timeout);
    builder
}

/// Clients that leave in the middle are everyday life.
fn report(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke");
    }
}

/// Tells a connection that works from one that only occupies a place.
#[derive(Clone, Default)]
struct Activity(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    under_way: AtomicUsize,
}

/// Counts a request as under way until dropped.
struct UnderWay(Arc<Counts>);

impl Activity {
    fn begin(&self) -> UnderWay {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.0.clone())
    }

    /// Returns after `timeout` without a request, or twice that.
    async fn idle(&self, timeout: Duration) {
        loop {
            let before = self.0.begun.load(Ordering::Relaxed);
            tokio::time::sleep(timeout).await;
            let begun = self.0.begun.load(Ordering::Relaxed);
            if begun == before && self.0.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_idle() {
        let start = Instant::now();
        Activity::default().idle(TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_request_keeps_its_connection() {
        let (activity, start) = (Activity::default(), Instant::now());
        let under_way = activity.begin();
        let request = async {
            sleep(Duration::from_secs(25)).await;
            drop(under_way);
        };
        tokio::join!(activity.idle(TIMEOUT), request);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_starts_the_time_again() {
        let (activity, start) = (Activity::default(), Instant::now());
        let requests = async {
            for _ in 0..3 {
                sleep(Duration::from_secs(7)).await;
                drop(activity.begin());
            }
        };
        tokio::join!(activity.idle(TIMEOUT), requests);
        assert_eq!(start.elapsed(), Duration::from_secs(40));
    }
}
