//! Servers that this program becomes when it is started with their name: the
//! simulated Ollama, and the least that a server can do.
//!
//! Each is a process of its own, prints its address, and ends when its standard
//! input does, so that none outlives the benchmark.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use embergate_test_support::ollama::{Fault, OllamaSim, Pace};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

pub(crate) const SIMULATOR: &str = "as-simulator";
pub(crate) const BARE: &str = "as-bare";

/// The model of every simulator.
pub(crate) const MODEL: &str = "bench-embed";
pub(crate) const DIMENSIONS: usize = 1024;

/// How a simulator behaves, as it goes over the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    pub(crate) pace: Pace,
    /// One call in so many fails; 0 is none.
    pub(crate) fail_every: usize,
    /// Every call with this text fails; an empty one is none.
    pub(crate) crash_on: String,
}

impl Behaviour {
    pub(crate) fn arguments(&self) -> [String; 4] {
        let micros = |duration: Duration| duration.as_micros().to_string();
        [micros(self.pace.call), micros(self.pace.text), self.fail_every.to_string(), self.crash_on.clone()]
    }

    fn from_arguments(arguments: &[&str]) -> Self {
        let number = |at: usize| arguments.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
        let pace = Pace { call: Duration::from_micros(number(0)), text: Duration::from_micros(number(1)) };
        let crash_on = arguments.get(3).map_or_else(String::new, |text| (*text).to_owned());
        Self { pace, fail_every: number(2) as usize, crash_on }
    }
}

pub(crate) async fn simulate(arguments: &[&str]) {
    let behaviour = Behaviour::from_arguments(arguments);
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    sim.forget_calls();
    sim.set_pace(behaviour.pace);
    if 0 < behaviour.fail_every {
        sim.fail_every(behaviour.fail_every, Fault::crash());
    }
    if !behaviour.crash_on.is_empty() {
        sim.fail_on(&behaviour.crash_on, Fault::crash());
    }
    println!("{}", sim.url().trim_start_matches("http://"));
    until_input_ends().await;
}

/// Reads requests and answers each with the bytes of one file: what hyper can do when nothing is done.
pub(crate) async fn answer_bare(path: &str) {
    let body = Bytes::from(std::fs::read(path).expect("the answer lies ready"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on the loopback");
    println!("{}", listener.local_addr().expect("it is bound"));
    tokio::select! {
        () = accept(listener, body) => {}
        () = until_input_ends() => {}
    }
}

async fn accept(listener: TcpListener, body: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| bare(request, body.clone()));
            let connection = hyper::server::conn::http1::Builder::new();
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn bare(request: Request<Incoming>, body: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let read = Limited::new(request.into_body(), 1 << 20).collect().await;
    drop(read);
    let mut response = Response::new(Full::new(body));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

async fn until_input_ends() {
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await.is_ok_and(|n| 0 < n) {}
}
