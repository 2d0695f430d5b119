//! Qdrant in memory, over its own gRPC stubs: what Embergate asks of it behaves
//! as the real server does, everything else is unimplemented.

mod collections;
mod filter;
mod limits;
mod points;
mod scores;
mod stall;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, DenseVector, HealthCheckReply, HealthCheckRequest,
    OptimizersConfigDiff, SparseVector, StrictModeConfig, Value,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

pub use stall::{Stalled, When};

/// What goes wrong with the next write of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused as if the server were not there; nothing is applied.
    Unavailable,
    /// It is refused for what is in it; nothing is applied.
    Refused,
    /// Nothing is applied, and the answer says in how many seconds to come back.
    Exhausted(u32),
    /// Nothing is applied: a replica was ahead.
    ClockRejected,
    /// It is applied, and nobody ever answers.
    Silent,
    /// It is applied, and the answer says that waiting took too long.
    WaitTimeout,
    /// It is applied, and the answer is lost.
    AnswerLost,
}

/// A running server. Stopped by `stop`, and by drop.
pub struct QdrantSim {
    address: SocketAddr,
    is_secure: bool,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Holds calls back until it is dropped or released.
pub struct Held {
    gate: watch::Sender<bool>,
}

impl QdrantSim {
    /// Listens on a free loopback port.
    pub async fn spawn() -> std::io::Result<Self> {
        Self::start(None).await
    }

    /// As `spawn`, over TLS with a certificate for `localhost`, both in PEM.
    pub async fn spawn_secure(certificate: &str, key: &str) -> std::io::Result<Self> {
        Self::start(Some(Identity::from_pem(certificate, key))).await
    }

    async fn start(identity: Option<Identity>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Shared::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let is_secure = identity.is_some();
        let mut server = Server::builder();
        if let Some(identity) = identity {
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).map_err(std::io::Error::other)?;
        }
        let points = PointsServer::new(shared.clone()).max_decoding_message_size(usize::MAX);
        let router = server
            // The real one lets everybody ask for its health.
            .add_service(QdrantServer::new(shared.clone()))
            .add_service(InterceptedService::new(CollectionsServer::new(shared.clone()), shared.door()))
            .add_service(InterceptedService::new(points, shared.door()));
        let task = tokio::spawn(async move {
            let serve = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                // The sender's end is a wish to stop as well.
                stopped.await.unwrap_or_default();
            });
            serve.await.unwrap_or_default();
        });
        Ok(Self { address, is_secure, shared, stop: Some(stop), task })
    }

    pub fn url(&self) -> String {
        match self.is_secure {
            true => format!("https://localhost:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    /// Lets only those in who bring this key.
    pub fn require_key(&self, key: &str) {
        self.shared.lock().key = Some(key.to_owned());
    }

    /// Collections that are made from now on have these limits.
    pub fn set_strict_mode(&self, limits: StrictModeConfig) {
        self.shared.lock().strict = Some(StrictModeConfig { enabled: Some(true), ..limits });
    }

    /// Whether each write of points was asked to wait until it is applied.
    pub fn waits(&self) -> Vec<bool> {
        self.shared.lock().waits.clone()
    }

    /// Whether the last question asked for the best to be compared again by whole vectors.
    pub fn rescored(&self) -> Option<bool> {
        self.shared.lock().rescored
    }

    /// What the server says of a collection, by its own name.
    pub fn collection(&self, name: &str) -> Option<CollectionInfo> {
        self.shared.lock().collections.get(name).map(collections::info)
    }

    /// Which collection each alias leads to.
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.shared.lock().aliases.clone()
    }

    /// The next writes of points go wrong in this order.
    pub fn fail_writes(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().faults.extend(faults.into_iter().map(Some));
    }

    /// The write of points after the next `n` goes wrong; those before it do not.
    pub fn fail_write_after(&self, n: usize, fault: Fault) {
        let mut state = self.shared.lock();
        state.faults.extend(std::iter::repeat_n(None, n));
        state.faults.push_back(Some(fault));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// Calls that change or read points, or change collections and aliases, so far.
    pub fn n_calls(&self) -> usize {
        self.shared.lock().n_calls
    }

    /// The `n`th of such calls from now is never answered.
    pub fn stall(&self, n: usize, when: When) -> Stalled {
        self.shared.stall(n, when)
    }

    /// Writes of points that came, faulty ones included, by their number of points or operations.
    pub fn writes(&self) -> Vec<usize> {
        self.shared.lock().writes.clone()
    }

    /// Holds all calls on points until what is returned is dropped.
    pub fn hold(&self) -> Held {
        let gate = self.shared.lock().gate.clone();
        gate.send_replace(true);
        Held { gate }
    }

    /// Stops when the calls under way have ended.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap_or_default();
    }
}

impl Drop for QdrantSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.send_replace(false);
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    aliases: BTreeMap<String, String>,
    faults: VecDeque<Option<Fault>>,
    writes: Vec<usize>,
    n_calls: usize,
    stall: Option<stall::Stall>,
    waits: Vec<bool>,
    rescored: Option<bool>,
    key: Option<String>,
    strict: Option<StrictModeConfig>,
    gate: watch::Sender<bool>,
}

struct Collection {
    created: CreateCollection,
    /// As it was created, and changed since.
    optimizers: OptimizersConfigDiff,
    metadata: HashMap<String, Value>,
    strict: Option<StrictModeConfig>,
    indexed: Vec<String>,
    /// By UUID, so that a scroll is in order.
    points: BTreeMap<String, Point>,
}

#[derive(Clone, Default)]
struct Point {
    dense: HashMap<String, DenseVector>,
    sparse: HashMap<String, SparseVector>,
    payload: HashMap<String, Value>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the key of each call, where one is required.
    fn door(&self) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
        let shared = self.clone();
        move |request| {
            let brought = request.metadata().get("api-key").and_then(|key| key.to_str().ok());
            match (&shared.lock().key, brought) {
                (Some(_), None) => {
                    Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token"))
                }
                (Some(key), Some(brought)) if brought != key => {
                    Err(Status::unauthenticated("Invalid API key or JWT"))
                }
                _ => Ok(()),
            }?;
            Ok(request)
        }
    }

    /// Counts a call, and waits while calls are held.
    async fn pass(&self) {
        let (mut gate, stalled) = {
            let mut state = self.lock();
            state.n_calls += 1;
            (state.gate.subscribe(), state.is_stalled(When::Before))
        };
        // Nobody to hold the gate is nobody to wait for.
        gate.wait_for(|is_held| !is_held).await.map(drop).unwrap_or_default();
        stall::forever_if(stalled).await;
    }

    /// A change is applied.
    async fn applied(&self) {
        let stalled = self.lock().is_stalled(When::After);
        stall::forever_if(stalled).await;
    }
}

impl State {
    /// A collection by its name or an alias.
    fn collection(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let name = self.aliases.get(name).map_or(name, String::as_str).to_owned();
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(&name).ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl Qdrant for Shared {
    async fn health_check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckReply>, Status> {
        Ok(Response::new(HealthCheckReply {
            title: "qdrant - simulated".to_owned(),
            version: "1.19.0".to_owned(),
            commit: None,
        }))
    }
}
