//! One request on its way: what came, when and from where, and what was found out about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Uri, Version};
use tokio::time::Instant;
use uuid::Uuid;

use super::failures::Failures;
use super::keys::{self, Caller};
use super::observe::{self, Record};
use super::{Config, trace};

pub(super) const REQUEST_ID: &str = "x-request-id";

/// Characters of a client's own request id, at most; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

/// Who holds the other end of a connection, and how it is spoken over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) over_tls: bool,
}

/// What every step of a request's way is handed, beside what all requests share.
pub(super) struct Exchange {
    /// The client's own where it is a decent one.
    pub(super) id: String,
    pub(super) begun: Instant,
    /// The trace that the client says it is in: 32 hexadecimal digits.
    pub(super) trace_id: Option<Box<str>>,
    /// Who holds the other end of the connection, which may be a proxy.
    pub(super) peer: Peer,
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// The page that the answer is for, once `Host` and `Origin` were checked.
    pub(super) origin: Option<HeaderValue>,
    /// A stranger until keys were looked at.
    pub(super) caller: Caller,
    /// What the log will say: steps fill it in as they learn it.
    pub(super) record: Record,
    /// Whether no other request may come over this connection.
    pub(super) ends_connection: bool,
    pub(super) failures: Arc<Failures>,
    shows_client: bool,
    ended: bool,
}

impl Exchange {
    /// Begins the exchange with a request from `peer`, and hands its body back.
    pub(super) fn begin<B>(
        request: Request<B>,
        peer: Peer,
        config: &Config,
        failures: Arc<Failures>,
    ) -> (Self, B) {
        let begun = Instant::now();
        let (Parts { method, uri, version, mut headers, .. }, body) = request.into_parts();
        keys::hide(&mut headers);
        let exchange = Self {
            id: request_id(&headers),
            begun,
            trace_id: trace::trace_id(&headers),
            peer,
            version,
            method,
            uri,
            headers,
            origin: None,
            caller: Caller::default(),
            record: Record::default(),
            ends_connection: false,
            failures,
            shows_client: config.log_client_address,
            ended: false,
        };
        (exchange, body)
    }

    /// The client's address, where logs and spans may name it.
    pub(super) fn shown_client(&self) -> Option<IpAddr> {
        self.shows_client.then(|| self.peer.address.ip().to_canonical())
    }

    /// Ends the exchange with `response`: logs and counts it.
    pub(super) fn end(mut self, response: &Response<Full<Bytes>>) {
        self.ended = true;
        observe::answered(&self, response);
    }
}

impl Drop for Exchange {
    /// A request whose client left before it was answered is logged and counted too.
    fn drop(&mut self) {
        if !self.ended {
            observe::given_up(self);
        }
    }
}

/// The client's own id where it is a decent one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let decent = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    own.filter(decent).map_or_else(|| new_id().to_string(), str::to_owned)
}

/// A random id, as far as anybody can tell. Randomness is asked of the system once: for
/// each request it would be a call.
fn new_id() -> Uuid {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
        let (high, low) = (Uuid::new_v4(), Uuid::new_v4());
        *blake3::hash(&[*high.as_bytes(), *low.as_bytes()].concat()).as_bytes()
    });
    static N_MADE: AtomicU64 = AtomicU64::new(0);
    let number = N_MADE.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    let hash = blake3::keyed_hash(&KEY, &number);
    let [high, _] = hash.as_bytes().as_chunks::<16>().0 else { return Uuid::new_v4() };
    uuid::Builder::from_random_bytes(*high).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_id(own: &str, kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, own.parse().unwrap());
        assert_eq!(request_id(&headers) == own, kept);
    }

    #[test]
    fn a_clients_own_id_is_kept_if_it_is_a_decent_one() {
        check_id("req_8-b.2", true);
        check_id("", false);
        check_id("two words", false);
        check_id(&"x".repeat(129), false);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
