//! A port of a simulated server's own, also while it is down.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Keeps its port: a socket that never listens is bound to it, so that the system
/// gives it to nobody else.
pub(super) struct Place {
    address: SocketAddr,
    _kept: TcpSocket,
}

impl Place {
    /// Any free port on the loopback.
    pub(super) fn new() -> Self {
        let kept = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = kept.local_addr().expect("a bound socket has an address");
        Self { address, _kept: kept }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens; whoever did before must have ended.
    pub(super) fn listen(&self) -> TcpListener {
        bound(self.address).listen(BACKLOG).expect("nobody else listens there")
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    // Sockets that share a port all have to say so.
    socket.set_reuseaddr(true).expect("a socket can share its port");
    socket.bind(address).expect("the port is free");
    socket
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_place_refuses_while_nobody_listens_and_can_be_taken_again() {
        let place = Place::new();
        for _ in 0..3 {
            assert!(TcpStream::connect(place.address()).await.is_err());
            let listener = place.listen();
            let stream = TcpStream::connect(place.address()).await;
            drop((listener.accept().await.expect("a connection"), stream, listener));
        }
    }
}
