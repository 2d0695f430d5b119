//! Writes the log from a thread of its own, many lines at a time.
//!
//! A line for each request would be a call of the system for each request, made by the
//! thread that answers it. Lines are gathered for a moment instead, in memory that has a
//! bound: where whoever reads the log does not keep up, lines are left out and counted,
//! and requests go on.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long lines are gathered: what the log is late by, at most, unless its reader is slow.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of lines that wait, at most.
const MAX_WAITING: usize = 1 << 20;

/// Takes lines, and never waits for whoever reads them. Clones write to the same log.
#[derive(Clone)]
pub(super) struct Behind(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told to the thread: there is a line. Told to who flushes: all was written.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    n_left_out: u64,
    is_writing: bool,
    /// Somebody waits for the end of what is there.
    is_hurried: bool,
}

impl Behind {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn spawn(to: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let writer = shared.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_on(to))?;
        Ok(Self(shared))
    }

    /// Waits until all lines that were taken are written, for `within` at most.
    pub(super) fn flush(&self, within: Duration) {
        let mut state = self.0.lock();
        state.is_hurried = true;
        self.0.changed.notify_all();
        let is_under_way = |state: &mut State| state.is_writing || !state.lines.is_empty();
        // Late is better than never, and an end better than both.
        drop(self.0.changed.wait_timeout_while(state, within, is_under_way));
    }
}

impl Write for Behind {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if MAX_WAITING < state.lines.len() + line.len() {
            state.n_left_out += 1;
            return Ok(line.len());
        }
        let is_first = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        // The thread sleeps only where there was nothing to write.
        if is_first && !state.is_writing {
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_on(&self, mut to: impl Write) {
        let mut lines = Vec::new();
        loop {
            let state = self.lock();
            let state = self.changed.wait_while(state, |state| state.lines.is_empty());
            let state = state.unwrap_or_else(PoisonError::into_inner);
            let gathered = self.changed.wait_timeout_while(state, GATHER, |state| !state.is_hurried);
            let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut state.lines, &mut lines);
            let n_left_out = std::mem::take(&mut state.n_left_out);
            state.is_writing = true;
            drop(state);

            if 0 < n_left_out {
                lines.extend(
                    format!("{n_left_out} lines of the log were left out: nobody reads it fast enough\n")
                        .bytes(),
                );
            }
            // Whoever reads the log may be gone: there is nobody to tell.
            drop(to.write_all(&lines).and_then(|()| to.flush()));
            lines.clear();
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// Hands on what is written, each call of its own; waits where the other end is slow.
    struct Reader(mpsc::SyncSender<String>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order_and_together() {
        let (sender, read) = mpsc::sync_channel(100);
        let mut log = Behind::spawn(Reader(sender)).unwrap();
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            log.write_all(line.as_bytes()).unwrap();
        }
        log.flush(SOON);
        let written: Vec<String> = read.try_iter().collect();
        assert_eq!(written.concat(), lines.concat());
        assert!(written.len() < lines.len(), "{}", written.len());
    }

    #[test]
    fn where_nobody_reads_lines_are_left_out_and_nobody_waits() {
        let (sender, read) = mpsc::sync_channel(0);
        let mut log = Behind::spawn(Reader(sender)).unwrap();
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        // Two bounds' worth: the thread holds one, and one waits.
        for _ in 0..3 * MAX_WAITING / line.len() {
            log.write_all(&line).unwrap();
        }
        assert!(log.0.lock().lines.len() <= MAX_WAITING);
        let told = std::iter::from_fn(|| read.recv_timeout(SOON).ok()).find(|text| text.contains("left out"));
        assert!(told.is_some());
    }
}
