//! Cases that wait, each with its reason. Every other case runs.

const KEYS: &str = "the gateway has no API keys";
const LEGACY: &str = "/api/embeddings is not served";
const DISCOVERY: &str = "Ollama's discovery and management paths are not served";

/// Identifiers of cases, and why they do not run.
pub(crate) const LATER: &[(&str, &str)] = &[
    ("oai-050", KEYS),
    ("oai-051", KEYS),
    ("leg-001", LEGACY),
    ("leg-003", LEGACY),
    ("leg-005", LEGACY),
    ("leg-006", LEGACY),
    ("leg-008", LEGACY),
    ("leg-010", LEGACY),
    ("dis-001", DISCOVERY),
    ("dis-003", DISCOVERY),
    ("dis-005", DISCOVERY),
    ("dis-006", DISCOVERY),
    ("dis-008", DISCOVERY),
    ("dis-010", DISCOVERY),
    ("dis-011", DISCOVERY),
    ("dis-016", DISCOVERY),
];
