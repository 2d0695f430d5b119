//! Serves one connection: its handshake, its requests, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::super::exchange::Peer;
use super::super::observe;
use super::super::service::Service;
use super::super::tls::Tls;
use super::activity::Activity;
use super::bodies::{Arriving, Leaving};
use super::ended::{Cause, Ended, Endings};
use super::heard::Heard;
use super::http::{Limits, builder};
use super::places::Place;

/// What all connections of a listener come in by.
pub(super) struct Door {
    name: &'static str,
    limits: Limits,
    tls: Option<Tls>,
    http: auto::Builder<TokioExecutor>,
    service: Arc<Service>,
    endings: Endings,
}

/// What a connection and its watchers look at.
struct Watch {
    peer: Peer,
    activity: Arc<Activity>,
    place: Place,
    stop: CancellationToken,
}

impl Watch {
    /// Returns with the cause once the connection should end.
    async fn should_end(&self) -> Cause {
        tokio::select! {
            biased;
            () = self.place.0.displaced() => Cause::Displaced,
            cause = self.activity.overdue() => cause,
            () = self.stop.cancelled() => Cause::Stopped,
        }
    }
}

impl Door {
    pub(super) fn new(name: &'static str, limits: Limits, tls: Option<Tls>, service: Service) -> Self {
        let (http, endings) = (builder(limits), Endings::new(name));
        Self { name, limits, tls, http, service: Arc::new(service), endings }
    }

    /// Serves until the client is done, something takes too long, the place is
    /// needed, or the gateway stops.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
        stop: CancellationToken,
    ) {
        let open = observe::connection(self.name);
        // A small answer must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot switch off delays");
        }
        let peer = Peer { address, over_tls: self.tls.is_some() };
        let watch = Watch { peer, activity: Activity::new(place.0.clone(), self.limits.times), place, stop };
        let ended = match &self.tls {
            None => self.speak_http(stream, &watch).await,
            Some(tls) => tokio::select! {
                biased;
                accepted = tls.accept(stream) => match accepted {
                    Ok(stream) => self.speak_http(stream, &watch).await,
                    Err(error) => Ended::without_tls(error),
                },
                cause = watch.should_end() => cause.into(),
            },
        };
        self.endings.record(address, &ended);
        drop((watch, open));
    }

    async fn speak_http<S>(&self, stream: S, watch: &Watch) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = |request: Request<Incoming>| {
            let under_way = Arc::new(watch.activity.begin(request.version()));
            let request = request.map(|body| Arriving::new(body, under_way.clone()));
            let (service, peer) = (self.service.clone(), watch.peer);
            async move {
                let response = service.answer(request, peer).await;
                Ok::<_, Infallible>(response.map(|body| Leaving::new(body, under_way)))
            }
        };
        let heard = Heard { stream, activity: watch.activity.clone() };
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(heard), service_fn(answer)));
        let cause = tokio::select! {
            biased;
            served = connection.as_mut() => return Ended::served(served),
            cause = watch.should_end() => cause,
        };
        // What is under way is answered where the gateway stops. It is also
        // answered where a connection idled: a request may have come meanwhile.
        let patience = match cause {
            Cause::Stopped => self.limits.drain_timeout,
            Cause::Idle => self.limits.times.head,
            _ => return cause.into(),
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = connection => cause.into(),
            () = watch.place.0.displaced() => Cause::Displaced.into(),
            () = tokio::time::sleep(patience) => match cause {
                Cause::Stopped => Cause::Cut.into(),
                cause => cause.into(),
            },
        }
    }
}
