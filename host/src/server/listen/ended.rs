//! Why connections ended: counted by cause, and logged where somebody should know.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, counter};

use crate::telemetry::Throttle;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The client had what it wanted, or left in the middle.
    Closed,
    /// No request came for too long.
    Idle,
    /// The gateway stops.
    Stopped,
    /// The gateway stops, and a request did not end in time.
    Cut,
    /// Another connection got its place.
    Displaced,
    /// The first byte, the handshake, or the head of a request took too long.
    SlowHead,
    /// The client did not take its answer.
    SlowReader,
    /// The line and headers of a request are too long, or too many.
    HeadTooLarge,
    /// What came is no HTTP, or could be read in two ways.
    Malformed,
    /// Frames of HTTP/2 without end: requests that are taken back again and again, or heads that go on.
    Flood,
    /// The rules of HTTP/2 were broken.
    Protocol,
    /// No TLS came about.
    Tls,
}

impl Cause {
    const ALL: [Self; 12] = [
        Self::Closed,
        Self::Idle,
        Self::Stopped,
        Self::Cut,
        Self::Displaced,
        Self::SlowHead,
        Self::SlowReader,
        Self::HeadTooLarge,
        Self::Malformed,
        Self::Flood,
        Self::Protocol,
        Self::Tls,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::Cut => "cut",
            Self::Displaced => "displaced",
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
            Self::HeadTooLarge => "head_too_large",
            Self::Malformed => "malformed",
            Self::Flood => "http2_flood",
            Self::Protocol => "protocol",
            Self::Tls => "tls",
        }
    }

    /// Whether it happens all day.
    fn is_everyday(self) -> bool {
        matches!(self, Self::Closed | Self::Idle | Self::Stopped)
    }

    /// Whether somebody may be up to something, or something is set too low.
    fn is_alarming(self) -> bool {
        matches!(self, Self::Displaced | Self::Flood | Self::Cut)
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct Ended {
    cause: Cause,
    error: Option<Box<dyn Error + Send + Sync>>,
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        Self { cause, error: None }
    }
}

impl Ended {
    pub(super) fn without_tls(error: std::io::Error) -> Self {
        // All else is a client that leaves during the handshake.
        let is_refused = error.kind() == std::io::ErrorKind::InvalidData;
        Self { cause: if is_refused { Cause::Tls } else { Cause::Closed }, error: Some(error.into()) }
    }

    /// What hyper says of a connection that it served.
    pub(super) fn served(result: Result<(), Box<dyn Error + Send + Sync>>) -> Self {
        match result {
            Ok(()) => Cause::Closed.into(),
            Err(error) => Self { cause: cause_of(&*error), error: Some(error) },
        }
    }
}

fn cause_of(error: &(dyn Error + 'static)) -> Cause {
    let Some(known) = error.downcast_ref::<hyper::Error>() else { return Cause::Closed };
    if known.is_parse_too_large() {
        return Cause::HeadTooLarge;
    }
    if known.is_parse() {
        return Cause::Malformed;
    }
    // Of an HTTP/2 error, only the words are open to see: here those of ENHANCE_YOUR_CALM.
    let words = known.source().map(|source| source.to_string()).unwrap_or_default();
    if words.contains("detected excessive load") {
        Cause::Flood
    } else if words.contains("error detected") {
        Cause::Protocol
    } else {
        Cause::Closed
    }
}

/// The ends of one listener's connections.
pub(super) struct Endings {
    listener: &'static str,
    causes: Vec<(Cause, Counter, Mutex<Throttle>)>,
}

impl Endings {
    pub(super) fn new(listener: &'static str) -> Self {
        let counted = |cause: Cause| {
            let counter = counter!(
                "embergate_http_connections_ended_total", "listener" => listener, "cause" => cause.label()
            );
            (cause, counter, Mutex::default())
        };
        Self { listener, causes: Cause::ALL.map(counted).into() }
    }

    pub(super) fn record(&self, peer: SocketAddr, ended: &Ended) {
        let Some((cause, counter, throttle)) = self.causes.iter().find(|(cause, ..)| *cause == ended.cause)
        else {
            return;
        };
        counter.increment(1);
        let (listener, label) = (self.listener, cause.label());
        let error = ended.error.as_deref().map(|error| error as &dyn Error);
        if cause.is_everyday() {
            tracing::debug!(listener, cause = label, %peer, error, "a connection ended");
            return;
        }
        let passed = throttle.lock().unwrap_or_else(PoisonError::into_inner).pass();
        let Some(n_left_out) = passed else { return };
        if cause.is_alarming() {
            tracing::warn!(listener, cause = label, %peer, n_left_out, error, "a connection was ended");
        } else {
            tracing::info!(listener, cause = label, %peer, n_left_out, error, "a connection was ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_label_of_its_own() {
        let labels: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.label()).collect();
        assert_eq!(labels.len(), Cause::ALL.len());
    }

    #[test]
    fn who_leaves_in_the_middle_of_a_handshake_is_no_failure_of_tls() {
        let failed = |kind| Ended::without_tls(std::io::Error::new(kind, "tls handshake eof")).cause;
        assert_eq!(failed(std::io::ErrorKind::UnexpectedEof), Cause::Closed);
        assert_eq!(failed(std::io::ErrorKind::InvalidData), Cause::Tls);
    }
}
