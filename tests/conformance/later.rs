//! Cases that wait, each with its reason. Every other case runs.

/// Identifiers of cases, and why they do not run.
pub(crate) const LATER: &[(&str, &str)] = &[];
