//! Accepts connections, and has a place for each that works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::service::Service;
use super::tls::Tls;

mod activity;
mod bodies;
mod connection;
mod ended;
mod heard;
mod http;
mod places;

pub(super) use http::Limits;

use connection::Door;
use places::{Place, Places};

/// How long to wait when the system has no socket for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One bound socket and what answers on it.
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) max_connections: usize,
    pub(super) limits: Limits,
    pub(super) tls: Option<Tls>,
    pub(super) service: Service,
}

impl Listener {
    /// Accepts until `stop`; connections go on in `tasks`.
    pub(super) async fn serve(self, tasks: TaskTracker, stop: CancellationToken) {
        if let Some(tls) = &self.tls {
            tasks.spawn(tls.clone().reload_until(stop.clone()));
        }
        let places = Places::new(self.max_connections);
        let door = Arc::new(Door::new(self.name, self.limits, self.tls, self.service));
        while let Some((stream, peer, place)) = next(&self.socket, &places, &stop).await {
            tasks.spawn(door.clone().serve(stream, peer, place, stop.clone()));
        }
    }
}

/// Waits for a connection, then for its place; `None` once `stop` was asked for.
async fn next(
    socket: &TcpListener,
    places: &Arc<Places>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let accepted = async {
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => return (stream, peer, places.take().await),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    // Its file may be what is missing.
                    places.displace();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => Some(accepted),
    }
}
