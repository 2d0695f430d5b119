//! What the tests of several suites use.

pub mod binary;
pub mod gate;
pub mod guest;
pub mod ollama;
pub mod openapi;
pub mod process;
pub mod qdrant;
