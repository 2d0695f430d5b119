//! One client: asks for this and that over a connection that it keeps, and leaves now and then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate_load::connection::Connection;

use crate::answer::{Ending, judge};
use crate::chance::Chance;
use crate::request::Request;
use crate::tally::Tally;

/// How long an answer may take before it counts as lost: longer than the gateway says it may.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two requests of one client, at most.
const PAUSE_MILLIS: u64 = 40;

/// Asks until `end`.
///
/// # Panics
/// At the first answer that is not what it must be.
pub(crate) async fn ask_until(end: Instant, host: SocketAddr, chance: Chance, tally: Arc<Tally>) {
    let mut chance = chance;
    let mut kept = None;
    let mut number = chance.next();
    while Instant::now() < end {
        number = number.wrapping_add(1);
        let request = Request::any(number, &mut chance);
        let was_sheltered = tally.is_sheltered();
        let ending = match request.leaves_after {
            Some(millis) => leave(&mut kept, host, &request, Duration::from_millis(millis)).await,
            None => {
                let asked = tokio::time::timeout(PATIENCE, ask(&mut kept, host, &request)).await;
                Some(asked.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?} to {request:?}")))
            }
        };
        tally.count(&request, ending, was_sheltered && tally.is_sheltered());
        tokio::time::sleep(Duration::from_millis(chance.below(PAUSE_MILLIS))).await;
    }
}

/// Asks over the connection that was kept, or a new one.
async fn ask(kept: &mut Option<Connection>, host: SocketAddr, request: &Request) -> Ending {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(host).await.unwrap(),
    };
    let bytes = request.bytes(host);
    let answer = connection.ask(&bytes).await.unwrap_or_else(|error| panic!("{error} at {request:?}"));
    let stays = answer.stays;
    let judged = judge(request, answer.status, answer.body);
    *kept = stays.then_some(connection);
    judged.unwrap_or_else(|wrong| panic!("{wrong}, at {request:?}"))
}

/// Asks, and leaves with the connection unless the answer came before.
async fn leave(
    kept: &mut Option<Connection>,
    host: SocketAddr,
    request: &Request,
    after: Duration,
) -> Option<Ending> {
    tokio::time::timeout(after, ask(kept, host, request)).await.ok()
}
