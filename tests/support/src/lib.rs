//! What the tests of several suites use.

pub mod qdrant;
