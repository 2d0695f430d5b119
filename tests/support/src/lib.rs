//! What the tests of several suites use.

pub mod gate;
pub mod ollama;
pub mod qdrant;
