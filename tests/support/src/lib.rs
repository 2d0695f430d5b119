//! What the tests of several suites use.
