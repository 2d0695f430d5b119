//! Load for benchmarks: requests for embeddings over HTTP/1.1, timed, and checked vector by vector.
//!
//! It is made to cost little, because it often shares its processor with what
//! it measures: requests are written once, and answers are compared as bytes.

pub mod connection; // one keep-alive connection
pub mod drive; // closed loop and open loop
pub mod exchange; // a request, and what must come back
pub mod metrics; // what the gateway counts
pub mod questions; // what normal clients ask while others do worse
pub mod report; // latencies → the figures that are told
pub mod table; // figures, their goals, and the page about them

pub use drive::{Load, Source};
pub use exchange::{Api, Exchange};
pub use report::Report;
