//! One request on its way: what came, when and from where, and what was found out about it.

use std::net::SocketAddr;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Uri};
use tokio::time::Instant;
use uuid::Uuid;

use super::observe::Record;

pub(super) const REQUEST_ID: &str = "x-request-id";

/// Characters of a client's own request id, at most; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

/// What every step of a request's way is handed, beside what all requests share.
pub(super) struct Exchange {
    /// The client's own where it is a decent one.
    pub(super) id: String,
    pub(super) begun: Instant,
    /// Who holds the other end of the connection, which may be a proxy.
    #[allow(dead_code, reason = "steps to come ask for it")]
    pub(super) peer: SocketAddr,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// The page that the answer is for, once `Host` and `Origin` were checked.
    pub(super) origin: Option<HeaderValue>,
    /// What the log will say: steps fill it in as they learn it.
    pub(super) record: Record,
}

impl Exchange {
    /// Begins the exchange with a request from `peer`, and hands its body back.
    pub(super) fn begin<B>(request: Request<B>, peer: SocketAddr) -> (Self, B) {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let id = request_id(&headers);
        let (begun, record) = (Instant::now(), Record::default());
        (Self { id, begun, peer, method, uri, headers, origin: None, record }, body)
    }
}

/// The client's own id where it is a decent one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let decent = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    own.filter(decent).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
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
