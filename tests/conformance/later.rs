//! Cases that wait, each with its reason. Every other case runs.

const TOKENS: &str = "token arrays are refused, not decoded";

/// Identifiers of cases, and why they do not run.
pub(crate) const LATER: &[(&str, &str)] = &[("oai-015", TOKENS), ("oai-016", TOKENS)];
