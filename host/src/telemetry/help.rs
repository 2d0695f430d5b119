//! What each metric is, as `/metrics` says it above its values. `docs/operations.md` says
//! more, and a test of the source tree compares both with the code.

const COUNTERS: &[(&str, &str)] = &[
    ("embergate_batch_retries_total", "Batches that failed and went out again as they were."),
    (
        "embergate_batch_retries_refused_total",
        "Batches that failed and were over the budget of retries: their texts failed.",
    ),
    ("embergate_batches_halved_total", "Batches cut in two to find the text that fails."),
    ("embergate_cache_evictions_total", "Vectors that left the cache, by cause."),
    ("embergate_cache_hits_total", "Texts that were answered from memory."),
    ("embergate_canaries_total", "Canaries that an upstream was asked to embed, by outcome."),
    (
        "embergate_flights_shared_total",
        "Texts that waited for an embedding that another request had asked for.",
    ),
    ("embergate_http_connections_ended_total", "Connections that ended, by cause."),
    ("embergate_http_requests_total", "Requests, by class of status; none for one whose client left."),
    ("embergate_key_refused_total", "Requests of a key that lacked a right, or came over a limit."),
    ("embergate_key_requests_total", "Requests that were let in with a key."),
    ("embergate_key_texts_total", "Texts that were let in with a key."),
    ("embergate_plugin_calls_total", "Calls of a plugin that ended, with an answer or without."),
    (
        "embergate_plugin_failures_total",
        "Calls of a plugin that failed, and documents whose chunks broke the contract, by class.",
    ),
    ("embergate_plugin_reloads_total", "Files of plugins that came, changed or went, by what came of it."),
    (
        "embergate_plugin_replaced_calls_total",
        "Calls that a plugin failed, and that were skipped or done by its fallback.",
    ),
    ("embergate_texts_total", "Texts that were answered."),
    ("embergate_tokens_total", "Tokens of the texts that were answered, those from memory included."),
    ("embergate_unauthorized_total", "Requests without a valid key."),
    ("embergate_upstream_ejections_total", "How often an upstream was ejected."),
    ("embergate_upstream_errors_total", "Calls to an upstream that failed, by class of error."),
    (
        "embergate_upstream_truncated_texts_total",
        "Texts that an upstream has cut without being asked to, as far as its count of tokens shows.",
    ),
];

const GAUGES: &[(&str, &str)] = &[
    ("embergate_cache_bytes", "Memory for vectors."),
    ("embergate_cache_entries", "Vectors in memory."),
    ("embergate_http_connections", "Open connections."),
    ("embergate_plugin_breaker_open", "1 while a plugin is out of service, else 0."),
    ("embergate_queued_bytes", "Bytes of texts that wait for an embedding."),
    ("embergate_queued_texts", "Texts that wait for an upstream."),
    ("embergate_upstream_healthy", "1, or 0 for an upstream that is ejected."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("embergate_batch_texts", "Texts in an upstream call."),
    ("embergate_batch_tokens", "Tokens in an upstream call, as counted here."),
    ("embergate_batch_wait_seconds", "How long the oldest text of a batch waited before it left."),
    ("embergate_http_request_seconds", "From the head of a request to its answer."),
    ("embergate_http_request_texts", "Texts in a request that was embedded."),
    ("embergate_plugin_call_seconds", "What calls of a plugin took, waiting for an instance included."),
    ("embergate_upstream_call_seconds", "Calls to an upstream, those that fail included."),
];

/// Tells the recorder of this thread or process.
pub(super) fn describe() {
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *help);
    }
}
