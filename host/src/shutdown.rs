//! From a signal to a token that everybody watches.
