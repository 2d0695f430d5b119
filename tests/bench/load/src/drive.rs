//! Sends requests: as fast as they are answered, or at a rate that answers cannot slow down.

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
    /// How long one request may wait to be sent, and then for its answer, before it is given up.
    pub patience: Duration,
}

impl Load {
    /// Every connection sends its next request as soon as it has the answer to the last one.
    pub async fn closed(&self, source: &Source) -> Report {
        let pace = Pace { numbers: AtomicU64::new(0), kind: Kind::Until(Instant::now() + self.duration) };
        self.drive(source, Arc::new(pace), None).await
    }

    /// The same, but of what ends within `duration` after `warm_up`, while requests are under
    /// way before and after: neither the first answers nor the last ones are in the figures.
    /// Failures count whenever they happen.
    pub async fn steady(&self, source: &Source, warm_up: Duration) -> Report {
        let begin = Instant::now() + warm_up;
        let window = Window { begin, end: begin + self.duration };
        let pace = Pace { numbers: AtomicU64::new(0), kind: Kind::Until(window.end) };
        self.drive(source, Arc::new(pace), Some(window)).await
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
        let report = self.drive(source, Arc::new(pace), None).await;
        // It has nothing to say, and cannot panic.
        drop(metronome.join());
        report
    }

    async fn drive(&self, source: &Source, pace: Arc<Pace>, window: Option<Window>) -> Report {
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            workers.spawn(work(*self, source.clone(), pace.clone(), window));
        }
        let mut seen = Seen::default();
        while let Some(worker) = workers.join_next().await {
            seen.join(worker.expect("a worker whose figures are lost would hide what it saw"));
        }
        seen.report(window.map_or_else(|| start.elapsed(), |window| window.end - window.begin))
    }
}

/// When a request must end to be in the figures.
#[derive(Clone, Copy, Debug)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    fn contains(self, moment: Instant) -> bool {
        self.begin <= moment && moment < self.end
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

async fn work(load: Load, source: Source, pace: Arc<Pace>, window: Option<Window>) -> Seen {
    let mut connection = None;
    let mut seen = Seen::default();
    while let Some((number, due)) = pace.next().await {
        let late = due.elapsed();
        if load.patience < late {
            // Whoever waited so long for a connection has gone.
            seen.record(late, late, Ending::TimedOut);
            continue;
        }
        let exchange = source(number);
        let asked = ask(&mut connection, load.address, &exchange, &mut seen);
        let ending = tokio::time::timeout(load.patience, asked).await.unwrap_or(Ending::TimedOut);
        let now = Instant::now();
        match window {
            Some(window) if !window.contains(now) => seen.record_beside(ending),
            _ => seen.record(now - due, late, ending),
        }
        if matches!(ending, Ending::Broken | Ending::TimedOut) {
            connection = None;
            tokio::time::sleep(REST).await;
        }
    }
    seen
}

/// Asks over the connection that was kept, or a new one.
async fn ask(
    kept: &mut Option<Connection>,
    address: SocketAddr,
    exchange: &Exchange,
    seen: &mut Seen,
) -> Ending {
    // A server may close a connection that is idle: every client then asks over a new one.
    if let Some(connection) = kept.take() {
        if let Some(ending) = ask_over(connection, kept, exchange).await {
            return ending;
        }
        seen.record_reconnect();
    }
    let Ok(connection) = Connection::open(address).await else {
        return Ending::Broken;
    };
    ask_over(connection, kept, exchange).await.unwrap_or(Ending::Broken)
}

/// Asks, and keeps the connection where the server does. `None` if it ended before anything came.
async fn ask_over(
    mut connection: Connection,
    kept: &mut Option<Connection>,
    exchange: &Exchange,
) -> Option<Ending> {
    let judged = connection.ask(exchange.bytes()).await.map(|answer| {
        let ending = match answer.status {
            status if status != exchange.status() => Ending::Status(status),
            _ if exchange.accepts(answer.body) => Ending::Fine,
            _ => Ending::Wrong,
        };
        (ending, answer.stays)
    });
    match judged {
        Ok((ending, stays)) => {
            *kept = stays.then_some(connection);
            Some(ending)
        }
        Err(_) => connection.has_begun_to_answer().then_some(Ending::Broken),
    }
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
    async fn figures_are_of_what_ends_in_the_window() {
        let (address, _server) = server(Duration::ZERO).await;
        let load = load(address, 2, Duration::from_millis(50));
        let report = load.steady(&source(), Duration::from_millis(50)).await;
        assert_eq!((report.seconds, report.failed()), (0.05, 0), "{report}");
        assert!(0 < report.requests && 0 < report.beside, "{report}");
    }

    #[tokio::test]
    async fn an_answer_of_a_status_that_nobody_expects_has_failed() {
        let (address, _server) = server(Duration::ZERO).await;
        let exchange = Arc::new(Exchange::post("x", "/", "{}").expecting(404));
        let load = load(address, 1, Duration::from_millis(10));
        let report = load.open(&(Arc::new(move |_| exchange.clone()) as Source), 100.0).await;
        assert_eq!((report.requests, report.statuses.get(&200)), (1, Some(&1)), "{report}");
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
        assert_eq!((report.requests, report.failed(), report.reconnected), (10, 0, 9), "{report}");
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

    #[tokio::test]
    async fn what_waits_too_long_for_a_connection_is_given_up_unsent() {
        let (address, server) = server(Duration::from_secs(60)).await;
        let patience = Duration::from_millis(20);
        let load = Load { patience, ..load(address, 1, Duration::from_millis(200)) };
        // The first holds the only connection until it is given up; those due by then have waited as long.
        let report = load.open(&source(), 1000.0).await;
        assert_eq!(report.requests, 200, "{report}");
        assert!(2 <= report.timed_out, "{report}");
        drop(server);
    }
}
