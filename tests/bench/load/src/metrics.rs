//! What the gateway tells over its admin listener.

use std::net::SocketAddr;

use crate::connection::Connection;

/// What it counts, in Prometheus' format.
pub struct Metrics(String);

impl Metrics {
    /// Asks the gateway whose admin listener is at `admin`.
    pub async fn read(admin: SocketAddr) -> Result<Self, String> {
        look(admin, "/metrics").await.map(Self)
    }

    /// The sum of all series of `name` that have `label`.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let series = self.0.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// What the admin listener at `admin` answers for `path`.
pub async fn look(admin: SocketAddr, path: &str) -> Result<String, String> {
    let mut connection = Connection::open(admin).await.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let answer = connection.ask(request.as_bytes()).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(answer.body).into_owned())
}
