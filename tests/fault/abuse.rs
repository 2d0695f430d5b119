//! Clients that mean no good, against the real binary over loopback: others are
//! served meanwhile, memory stays within its bounds, and the log names the cause.
//!
//! Nothing is timed. Where the gateway's own patience is what is tested, the
//! configuration makes it short.

mod bodies;
mod crowd;
mod gateway;
mod heads;
mod http2;
mod leaving;
mod readers;
mod refused;
mod smuggling;
mod tls;
