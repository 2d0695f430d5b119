//! From a signal to a token that everybody watches.

use std::io;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What a shell reports for a process that an interrupt ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Watches for SIGINT and SIGTERM for as long as it lives.
pub struct Signals {
    stop: CancellationToken,
    _watcher: AbortOnDropHandle<()>,
}

impl Signals {
    /// Starts watching. The first signal cancels the token; the second ends the
    /// process at once, for people who cannot wait.
    ///
    /// # Errors
    /// The system may refuse to watch for signals.
    pub fn spawn() -> io::Result<Self> {
        let mut signals = Both::new()?;
        let stop = CancellationToken::new();
        let told = stop.clone();
        let watcher = tokio::spawn(async move {
            signals.next().await;
            tracing::info!("stopping: requests under way are answered, a second signal ends them");
            told.cancel();
            signals.next().await;
            tracing::warn!("ended by a second signal");
            std::process::exit(INTERRUPTED);
        });
        Ok(Self { stop, _watcher: AbortOnDropHandle::new(watcher) })
    }

    /// Cancelled once the process should stop.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }
}

#[cfg(unix)]
struct Both {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Both {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Both;

#[cfg(not(unix))]
impl Both {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_cancels_the_token() {
        let signals = Signals::spawn().unwrap();
        assert!(!signals.token().is_cancelled());
        let me = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &me]).status().unwrap();
        assert!(sent.success());
        signals.token().cancelled().await;
    }
}
