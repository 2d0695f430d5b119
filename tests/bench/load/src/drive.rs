//! Sends requests: as fast as they are answered, or at a rate that answers cannot slow down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::report::{Ending, Report, Seen};

/// How long a worker rests whose connection failed: nothing is won by hammering.
const REST: Duration = Duration::from_millis(10);

/// The request of each number, counted from 0.
pub type Source = Arc<dyn Fn(u64) -> Arc<Exchange> + Send + Sync>;

/// What is sent where, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub address: SocketAddr,
    /// Connections, kept open; each has one request under way at a time.
    pub connections: usize,
    pub duration: Duration,
    /// How long one request may take before it is given up.
    pub patience: Duration,
}

impl Load {
    /// Every connection sends its next request as soon as it has the answer to the last one.
    pub async fn closed(&self, source: &Source) -> Report {
        let pace = Pace { numbers: AtomicU64::new(0), kind: Kind::Until(Instant::now() + self.duration) };
        self.drive(source, Arc::new(pace)).await
    }

    /// `per_second` requests are due each second, evenly, whatever happens to those before.
    ///
    /// Their times count from when they were due: one that waits for a free
    /// connection, because the server dwells on others, has that wait in its time.
    pub async fn open(&self, source: &Source, per_second: f64) -> Report {
        let start = Instant::now();
        let interval = Duration::from_secs_f64(1.0 / per_second);
        let total = (self.duration.as_secs_f64() * per_second) as u64;
        let due = Arc::new(Semaphore::new(0));
        let pace =
            Pace { numbers: AtomicU64::new(0), kind: Kind::At { start, interval, total, due: due.clone() } };
        let connections = self.connections;
        // A thread of its own: the runtime's clock only knows whole milliseconds.
        let metronome = std::thread::spawn(move || beat(start, interval, total, connections, &due));
        let report = self.drive(source, Arc::new(pace)).await;
        // It has nothing to say, and cannot panic.
        drop(metronome.join());
        report
    }

    async fn drive(&self, source: &Source, pace: Arc<Pace>) -> Report {
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            workers.spawn(work(*self, source.clone(), pace.clone()));
        }
        let mut seen = Seen::default();
        while let Some(worker) = workers.join_next().await {
            if let Ok(worker) = worker {
                seen.join(worker);
            }
        }
        seen.report(start.elapsed())
    }
}

/// When requests are due.
struct Pace {
    numbers: AtomicU64,
    kind: Kind,
}

enum Kind {
    /// At once, until then.
    Until(Instant),
    /// Evenly; `due` has a permit for each that is.
    At { start: Instant, interval: Duration, total: u64, due: Arc<Semaphore> },
}

impl Pace {
    /// Waits until a request is due; returns its number, and since when it is. `None` at the end.
    async fn next(&self) -> Option<(u64, Instant)> {
        match &self.kind {
            Kind::Until(end) => {
                let now = Instant::now();
                (now < *end).then(|| (self.numbers.fetch_add(1, Ordering::Relaxed), now))
            }
            Kind::At { start, interval, total, due } => {
                due.acquire().await.ok()?.forget();
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let since = *start + interval.mul_f64(number as f64);
                (number < *total).then_some((number, since))
            }
        }
    }
}

/// Adds a permit when a request is due, and at the end one for each worker to find out that it is the end.
fn beat(start: Instant, interval: Duration, total: u64, workers: usize, due: &Semaphore) {
    let mut given = 0;
    while given < total {
        let so_far = (start.elapsed().as_secs_f64() / interval.as_secs_f64()) as u64 + 1;
        let so_far = so_far.min(total);
        due.add_permits((so_far - given) as usize);
        given = so_far;
        let next = start + interval.mul_f64(given as f64);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    due.add_permits(workers);
}

async fn work(load: Load, source: Source, pace: Arc<Pace>) -> Seen {
    let mut connection = None;
    let mut seen = Seen::default();
    while let Some((number, due)) = pace.next().await {
        let exchange = source(number);
        let late = due.elapsed();
        let asked = ask(&mut connection, load.address, &exchange);
        let ending = tokio::time::timeout(load.patience, asked).await.unwrap_or(Ending::TimedOut);
        seen.record(due.elapsed(), late, ending);
        if matches!(ending, Ending::Broken | Ending::TimedOut) {
            connection = None;
            tokio::time::sleep(REST).await;
        }
    }
    seen
}

/// Asks over the connection that was kept, or a new one.
async fn ask(kept: &mut Option<Connection>, address: SocketAddr, exchange: &Exchange) -> Ending {
    if let Some(mut connection) = kept.take() {
        match ask_over(&mut connection, exchange).await {
            Ok((ending, stays)) => {
                *kept = stays.then_some(connection);
                return ending;
            }
            // A server may close a connection that is idle: every client then asks over a new one.
            Err(_) => {}
        }
    }
    let Ok(mut connection) = Connection::open(address).await else {
        return Ending::Broken;
    };
    match ask_over(&mut connection, exchange).await {
        Ok((ending, stays)) => {
            *kept = stays.then_some(connection);
            ending
        }
        Err(_) => Ending::Broken,
    }
}

/// How it ended, and whether the connection can be used again.
async fn ask_over(connection: &mut Connection, exchange: &Exchange) -> io::Result<(Ending, bool)> {
    let answer = connection.ask(exchange.bytes()).await?;
    let ending = match answer.status {
        200 if exchange.accepts(answer.body) => Ending::Fine,
        200 => Ending::Wrong,
        status => Ending::Status(status),
    };
    Ok((ending, answer.stays))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    /// A server that holds its first answer for `stall`. Requests come in one piece each.
    async fn server(stall: Duration) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut stall = Some(stall);
            while let Ok((mut stream, _)) = listener.accept().await {
                let stall = stall.take();
                connections.spawn(async move {
                    let mut buffer = [0; 4096];
                    tokio::time::sleep(stall.unwrap_or_default()).await;
                    while stream.read(&mut buffer).await.is_ok_and(|n| n != 0) {
                        stream.write_all(ANSWER).await.unwrap();
                    }
                });
            }
        });
        (address, tasks)
    }

    fn load(address: SocketAddr, connections: usize, duration: Duration) -> Load {
        Load { address, connections, duration, patience: Duration::from_secs(20) }
    }

    fn source() -> Source {
        let exchange = Arc::new(Exchange::post("x", "/", "{}"));
        Arc::new(move |_| exchange.clone())
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_request_that_was_due_in_it() {
        let (address, _server) = server(Duration::from_millis(200)).await;
        let report = load(address, 1, Duration::from_millis(200)).open(&source(), 500.0).await;
        // Of 100 requests, each due 2 ms after the one before, the 50th waited for the second half of the stall.
        assert_eq!((report.requests, report.failed()), (100, 0), "{report}");
        assert!(95.0 <= report.p50_ms, "{report}");
        assert!(95.0 <= report.late_p99_ms, "{report}");
    }

    #[tokio::test]
    async fn a_closed_loop_sends_until_the_end() {
        let (address, _server) = server(Duration::ZERO).await;
        let report = load(address, 3, Duration::from_millis(100)).closed(&source()).await;
        assert!(3 <= report.requests, "{report}");
        assert_eq!(report.failed(), 0, "{report}");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_replaced() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let mut buffer = [0; 4096];
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(stream.read(&mut buffer).await);
                drop(stream.write_all(ANSWER).await);
            }
        };
        let source = source();
        let load = load(address, 1, Duration::from_millis(20));
        let report = tokio::select! {
            report = load.open(&source, 500.0) => report,
            () = server => unreachable!(),
        };
        assert_eq!((report.requests, report.failed()), (10, 0), "{report}");
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_counted_as_broken() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let report = load(closed, 2, Duration::from_millis(20)).open(&source(), 1000.0).await;
        assert_eq!((report.requests, report.broken), (20, 20), "{report}");
    }

    #[tokio::test]
    async fn what_never_comes_is_given_up() {
        let (address, _server) = server(Duration::from_secs(60)).await;
        let load =
            Load { patience: Duration::from_millis(20), ..load(address, 1, Duration::from_millis(10)) };
        let report = load.open(&source(), 100.0).await;
        assert_eq!((report.requests, report.timed_out), (1, 1), "{report}");
    }
}
