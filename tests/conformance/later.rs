//! Cases that wait, each with its reason. Every other case runs.

const KEYS: &str = "the gateway has no API keys";

/// Identifiers of cases, and why they do not run.
pub(crate) const LATER: &[(&str, &str)] = &[("oai-050", KEYS), ("oai-051", KEYS)];
