//! How HTTP is spoken: hyper, with a bound on all that a client could make it keep.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use super::super::Config;
use super::activity::Times;

/// hyper accepts no smaller buffer for a request's head.
const MIN_HEAD: usize = 8 * 1024;

/// Requests over HTTP/2 that a client may take back before they were looked at.
const MAX_TAKEN_BACK: usize = 20;

/// Requests over HTTP/2 that were reset for a mistake in them, at most.
const MAX_MISTAKEN: usize = 128;

/// Bytes of bodies that one HTTP/2 connection may send before they are read.
const WINDOW: u32 = 256 * 1024;

/// What bounds one connection.
#[derive(Clone, Copy)]
pub(in crate::server) struct Limits {
    pub(super) times: Times,
    pub(super) drain_timeout: Duration,
    max_head: usize,
    max_headers: usize,
    max_streams: u32,
}

impl Limits {
    pub(in crate::server) fn new(config: &Config) -> Self {
        Self {
            times: Times {
                head: config.head_timeout,
                idle: config.idle_timeout,
                write: config.write_timeout,
            },
            drain_timeout: config.drain_timeout,
            max_head: usize::try_from(config.max_head.as_u64()).unwrap_or(usize::MAX).max(MIN_HEAD),
            max_headers: config.max_headers,
            max_streams: config.max_streams,
        }
    }
}

/// hyper's own times are off: they measure a pause between requests as a slow head.
pub(super) fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .max_local_error_reset_streams(MAX_MISTAKEN)
        .keep_alive_interval(limits.times.idle)
        .keep_alive_timeout(limits.times.head);
    builder
}
