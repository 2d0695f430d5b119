//! Who abuses: a process of its own with a low priority, as it would be on another machine.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::attacks;

/// The first argument of an attacker.
pub(crate) const COMMAND: &str = "attack";

/// How long an abuse may take to reach its full strength; it is measured then.
const GATHERING: Duration = Duration::from_secs(3);

const TICKS_PER_SECOND: u32 = 100;

/// What an attacker did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    /// Attempts: connections, requests or streams.
    begun: u64,
    per_second: f64,
    /// Attempts under way at the end.
    open: usize,
    /// Bytes of answers that were read.
    read_bytes: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, per_second, open, .. } = self;
        write!(f, "begun {begun} times ({per_second:.0} a second), {open} under way at the end")
    }
}

/// A running attacker. Killed when dropped.
pub(crate) struct Attacker {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Attacker {
    /// Starts the abuse `name` of the gateway at `address`, and waits until it is at its full strength.
    pub(crate) fn start(name: &str, address: SocketAddr) -> Self {
        let mut child = Command::new("nice")
            .args(["-n", "10"])
            .arg(std::env::current_exe().expect("this program has a path"))
            .args([COMMAND, name, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("an attacker starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut String::new()).expect("an attacker says that it is ready");
        Self { child, stdout }
    }

    pub(crate) fn stop(mut self) -> Done {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("an attacker says what it did");
        serde_json::from_str(&line).unwrap_or_default()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What attacks count.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: AtomicU64,
    read_bytes: AtomicU64,
    open: AtomicUsize,
    ready: tokio::sync::Notify,
}

impl Counts {
    pub(crate) fn begun(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, n_bytes: usize) {
        self.0.read_bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }

    /// Keeps up to `n` of `one` under way, beginning up to `per_second` of them anew each second.
    pub(crate) async fn keep<F>(&self, n: usize, per_second: u32, one: impl Fn(u64) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / TICKS_PER_SECOND);
        let mut tasks = JoinSet::new();
        let (mut number, mut allowance) = (0, 0.0);
        loop {
            tick.tick().await;
            while tasks.try_join_next().is_some() {}
            allowance += f64::from(per_second) / f64::from(TICKS_PER_SECOND);
            while 1.0 <= allowance && tasks.len() < n {
                tasks.spawn(one(number));
                (number, allowance) = (number + 1, allowance - 1.0);
            }
            // What was not used in time is lost.
            allowance = allowance.min(1.0 + f64::from(per_second) / f64::from(TICKS_PER_SECOND));
            self.0.open.store(tasks.len(), Ordering::Relaxed);
            if tasks.len() == n {
                self.0.ready.notify_one();
            }
        }
    }
}

/// The attacker's own life: ready, abusing until stdin ends, then a line on what it did.
#[expect(clippy::print_stdout, reason = "its words to the process that started it")]
pub(crate) async fn attack(name: &str, address: &str) {
    raise_open_files();
    let attack = attacks::find(name).expect("the abuse is known");
    let address = address.parse().expect("an address");
    let counts = Counts::default();
    let abuse = tokio::spawn((attack.run)(address, counts.clone()));
    let start = Instant::now();
    drop(tokio::time::timeout(GATHERING, counts.0.ready.notified()).await);
    println!("ready");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(end.await);
    let begun = counts.0.begun.load(Ordering::Relaxed);
    let done = Done {
        begun,
        per_second: begun as f64 / start.elapsed().as_secs_f64(),
        open: counts.0.open.load(Ordering::Relaxed),
        read_bytes: counts.0.read_bytes.load(Ordering::Relaxed),
    };
    println!("{}", serde_json::to_string(&done).expect("counts can be written"));
    abuse.abort();
}

/// Thousands of connections are more than a process may have open by default.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // With fewer files the abuse is weaker, and what it did tells so.
    drop(setrlimit(Resource::Nofile, raised));
}
