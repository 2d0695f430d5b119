//! Which version of Ollama's API is spoken.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Serialize;

use crate::server::wire::{self, json_response};

/// The first with capabilities and lengths in its list of models, as here.
///
/// It is three numbers and nothing more, because clients differ in what else they
/// read: Open WebUI fails on `0.30.0+x`, Python's `packaging` on `0.30.0-x`, and
/// npm's ranges leave `0.30.0-x` out.
const SPOKEN: &str = "0.30.0";

/// Answers `GET /api/version`; a field of its own says who it really is.
pub(in crate::server) fn version() -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Version {
        version: &'static str,
        embergate: &'static str,
    }
    json_response(wire::to_json(&Version { version: SPOKEN, embergate: env!("CARGO_PKG_VERSION") }))
}
