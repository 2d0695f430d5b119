//! Qdrant in memory, over its own gRPC stubs: what Embergate asks of it behaves
//! as the real server does, everything else is unimplemented.

mod collections;
mod filter;
mod points;
mod scores;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, DenseVector, HealthCheckReply, HealthCheckRequest,
    OptimizersConfigDiff, SparseVector, Value,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What goes wrong with the next write of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused as if the server were not there; nothing is applied.
    Unavailable,
    /// It is applied, and the answer says that waiting took too long.
    WaitTimeout,
    /// It is applied, and the answer is lost.
    AnswerLost,
}

/// A running server. Stopped by `stop`, and by drop.
pub struct QdrantSim {
    address: SocketAddr,
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
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Shared::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Server::builder()
            .add_service(QdrantServer::new(shared.clone()))
            .add_service(CollectionsServer::new(shared.clone()))
            .add_service(PointsServer::new(shared.clone()).max_decoding_message_size(usize::MAX));
        let task = tokio::spawn(async move {
            let serve = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                // The sender's end is a wish to stop as well.
                stopped.await.unwrap_or_default();
            });
            serve.await.unwrap_or_default();
        });
        Ok(Self { address, shared, stop: Some(stop), task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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
        self.shared.lock().faults.extend(faults);
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
    faults: VecDeque<Fault>,
    writes: Vec<usize>,
    gate: watch::Sender<bool>,
}

struct Collection {
    created: CreateCollection,
    /// As it was created, and changed since.
    optimizers: OptimizersConfigDiff,
    metadata: HashMap<String, Value>,
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

    /// Waits while calls are held.
    async fn pass(&self) {
        let mut gate = self.lock().gate.subscribe();
        // Nobody to hold the gate is nobody to wait for.
        gate.wait_for(|is_held| !is_held).await.map(drop).unwrap_or_default();
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
