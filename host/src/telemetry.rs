//! Logs by `tracing`, metrics by `metrics` in Prometheus' format.

/// Where metrics are read from.
#[derive(Clone)]
pub struct Metrics {
    handle: metrics_exporter_prometheus::PrometheusHandle,
}

impl Metrics {
    /// Installs the process' recorder; the second call returns the first one's.
    pub fn install() -> Self {
        todo!()
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}
