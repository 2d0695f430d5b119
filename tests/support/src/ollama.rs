//! A server in this process that speaks as Ollama does: its own API and OpenAI's.
//!
//! Its vectors follow from model and text alone, so that a test can tell whether
//! each text got its own.

mod body;
mod fault;
mod pace;
mod place;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::gate::{Gate, Held};

pub use fault::Fault;
pub use pace::Pace;
use pace::{Periodic, Runner};
use place::Place;

/// The text that the gateway has embedded to see whether all is well.
pub const CANARY: &str = "A canary sings while the air is good.";

/// A server that does not run yet: nobody else can take its port, and who connects
/// is refused.
pub struct Later(Place);

impl Later {
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }

    /// Serves `models`, each a name and its dimensions.
    pub fn start(self, models: &[(&str, usize)]) -> OllamaSim {
        OllamaSim::serve(self.0, models)
    }
}

/// One simulated server. Dropping it ends its connections.
pub struct OllamaSim {
    place: Place,
    shared: Arc<Shared>,
    /// Aborted when dropped; none while the server is down.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Shared {
    gate: Gate,
    /// A canary was asked for.
    sung: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    models: BTreeMap<String, Model>,
    version: String,
    /// For the next calls, one each.
    scripted: VecDeque<Fault>,
    /// For every call.
    always: Option<Fault>,
    /// Tokens beyond which texts are cut without a word.
    cut_at: Option<usize>,
    /// For one call in some.
    periodic: Option<Periodic>,
    /// For every call that has this text.
    poison: BTreeMap<String, Fault>,
    /// Calls for the canary alone, which wait at no gate and are no batches.
    n_canaries: usize,
    /// What every such call gets in the place of its own vector: that of this text.
    sings: Option<String>,
    batches: Vec<Vec<String>>,
    /// What was asked beside embeddings, as `/api/show NAME`.
    questions: Vec<String>,
    requests: Vec<serde_json::Value>,
    in_flight: usize,
    max_in_flight: usize,
    runner: Runner,
    /// Whether calls are kept for the test to look at.
    forgets: bool,
}

#[derive(Clone, Debug)]
struct Model {
    dimensions: usize,
    digest: String,
    /// One that does not is only listed.
    embeds: bool,
}

impl Model {
    fn new(name: &str, dimensions: usize, embeds: bool) -> Self {
        Self { dimensions, digest: format!("{:016x}", hash(name, "")), embeds }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OllamaSim {
    /// Serves `models`, each a name and its dimensions, on a port of its own.
    pub async fn start(models: &[(&str, usize)]) -> Self {
        Self::later().start(models)
    }

    /// A server that does not run yet, with a port of its own.
    pub fn later() -> Later {
        Later(Place::new())
    }

    fn serve(place: Place, models: &[(&str, usize)]) -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            state.version = "0.34.2".to_owned();
            for (name, dimensions) in models {
                state.models.insert((*name).to_owned(), Model::new(name, *dimensions, true));
            }
        }
        let sim = Self { place, shared, tasks: Mutex::default() };
        sim.come_back();
        sim
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.place.address())
    }

    /// Ends as a process that is killed does: its connections break, and who
    /// connects is refused until [`OllamaSim::come_back`].
    pub async fn crash(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    /// Serves again at the same port what it served before, with the same script.
    /// Does nothing while it runs.
    pub fn come_back(&self) {
        let mut tasks = self.tasks();
        if tasks.is_empty() {
            tasks.spawn(serve(self.place.listen(), self.shared.clone()));
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds all calls for embeddings from now on.
    pub fn hold(&self) -> Held {
        self.shared.gate.hold()
    }

    /// The next calls for embeddings go wrong so, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().scripted.extend(faults);
    }

    /// Every call for embeddings goes wrong so, until [`OllamaSim::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.shared.lock().always = Some(fault);
    }

    /// One call in `every` goes wrong so.
    pub fn fail_every(&self, every: usize, fault: Fault) {
        self.shared.lock().periodic = Some(Periodic::new(every, fault));
    }

    /// Every call that has `text` goes wrong so.
    pub fn fail_on(&self, text: &str, fault: Fault) {
        self.shared.lock().poison.insert(text.to_owned(), fault);
    }

    /// Gives the canary the vector of `text`, as another model would give another one.
    pub fn sing(&self, text: &str) {
        self.shared.lock().sings = Some(text.to_owned());
    }

    /// Waits until the canary was asked for so often. [`OllamaSim::fail_always`] and
    /// [`OllamaSim::fail_on`] reach such calls too; [`OllamaSim::fail_next`] does not.
    pub async fn until_canaries(&self, n: usize) {
        loop {
            let sung = self.shared.sung.notified();
            if n <= self.shared.lock().n_canaries {
                return;
            }
            sung.await;
        }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.scripted.clear();
        state.always = None;
        state.periodic = None;
        state.poison.clear();
        state.sings = None;
    }

    /// How long calls take from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.lock().runner.pace = pace;
    }

    /// Keeps no calls from now on: a load test makes too many.
    pub fn forget_calls(&self) {
        self.shared.lock().forgets = true;
    }

    /// What `/api/version` says.
    pub fn set_version(&self, version: &str) {
        self.shared.lock().version = version.to_owned();
    }

    /// What `/api/tags` says of `model`.
    pub fn set_digest(&self, model: &str, digest: &str) {
        if let Some(model) = self.shared.lock().models.get_mut(model) {
            model.digest = digest.to_owned();
        }
    }

    /// Cuts texts to `n_tokens` without a word from now on. A word is a token, and
    /// each text has two special ones.
    pub fn cut_at(&self, n_tokens: usize) {
        self.shared.lock().cut_at = Some(n_tokens);
    }

    /// Has `model` from now on.
    pub fn pull(&self, model: &str, dimensions: usize) {
        self.shared.lock().models.insert(model.to_owned(), Model::new(model, dimensions, true));
    }

    /// Lists `model` from now on, which does not embed.
    pub fn pull_chat(&self, model: &str) {
        self.shared.lock().models.insert(model.to_owned(), Model::new(model, 4096, false));
    }

    /// Has `model` no more.
    pub fn remove(&self, model: &str) {
        self.shared.lock().models.remove(model);
    }

    /// What was asked beside embeddings so far, in the order of arrival: the path,
    /// and for `/api/show` the model.
    pub fn questions(&self) -> Vec<String> {
        self.shared.lock().questions.clone()
    }

    /// The texts of each call for embeddings so far, in the order of arrival.
    pub fn batches(&self) -> Vec<Vec<String>> {
        self.shared.lock().batches.clone()
    }

    /// The body of each call for embeddings so far.
    pub fn requests(&self) -> Vec<serde_json::Value> {
        self.shared.lock().requests.clone()
    }

    /// Calls for embeddings that are under way.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight
    }

    /// Calls for embeddings that were under way at once, at most.
    pub fn max_in_flight(&self) -> usize {
        self.shared.lock().max_in_flight
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| wire::answer(shared.clone(), request));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            // A connection that is cut ends with an error, which is its purpose.
            drop(served);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The vector that a simulated server gives for `text`: norm 1, and another one for every text.
pub fn vector(model: &str, text: &str, dimensions: usize) -> Vec<f32> {
    let mut seed = hash(model, text);
    let raw: Vec<f64> = (0..dimensions)
        .map(|_| {
            seed = mixed(seed);
            (seed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
        .collect();
    let norm = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
    raw.iter().map(|value| (value / norm) as f32).collect()
}

/// FNV-1a over both, with a border between.
fn hash(model: &str, text: &str) -> u64 {
    model
        .bytes()
        .chain([0xff])
        .chain(text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One step of SplitMix64.
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_and_every_model_has_its_own_vector_of_norm_one() {
        let a = vector("m", "a", 16);
        assert!((a.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(a, vector("m", "a", 16));
        assert_ne!(a, vector("m", "b", 16));
        assert_ne!(a, vector("n", "a", 16));
    }
}
