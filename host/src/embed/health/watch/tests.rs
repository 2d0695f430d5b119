//! The watch in paused time, over upstreams that do as they are told.

mod changed;
mod failing;
mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::fake::{Asked, Fake, vector};
use super::super::Config;
use crate::embed::{
    EmbedAnswer, EmbedError, EmbedRequest, Embedder, Lane, ModelStatus, Standing, UpstreamState,
    UpstreamStatus, setup,
};
use crate::model::ModelName;
use crate::plugin::Plugins;
use crate::upstream;

const MODEL: &str = "m";

/// Upstreams and the embedder before them. No time passes while anything can be done.
struct Scene {
    fakes: Vec<Arc<Fake>>,
    embedder: Embedder,
    n_texts: AtomicUsize,
}

impl Scene {
    fn new(n_upstreams: usize, health: Config) -> Self {
        let fakes: Vec<Arc<Fake>> = (0..n_upstreams).map(|_| Arc::default()).collect();
        let names: Vec<String> = (0..n_upstreams).map(|number| number.to_string()).collect();
        let client = |table: &upstream::Config| match names.iter().position(|name| *name == table.name) {
            Some(at) => Ok(fakes[at].clone() as Arc<dyn upstream::Backend>),
            None => upstream::connect(table),
        };
        let table = |name| format!("name = \"{name}\"\nkind = \"ollama\"\nurl = \"http://nowhere\"");
        let upstreams = names.iter().map(|name| toml::from_str(&table(name)).unwrap()).collect();
        let model = toml::from_str(&format!("name = \"{MODEL}\"\nupstreams = {names:?}")).unwrap();
        let config = crate::embed::Config { health, ..Default::default() };
        let embedder = setup::embedder_over(
            client,
            config,
            vec![model],
            upstreams,
            &Default::default(),
            Default::default(),
            Arc::new(Plugins::none()),
        );
        Self { embedder: embedder.unwrap(), fakes, n_texts: AtomicUsize::new(0) }
    }

    /// Asks for so many new texts.
    async fn try_new(&self, n_texts: usize) -> Result<EmbedAnswer, EmbedError> {
        let first = self.n_texts.fetch_add(n_texts, Ordering::Relaxed);
        self.ask((first..first + n_texts).map(|number| format!("text {number}")).collect()).await
    }

    async fn ask(&self, texts: Vec<String>) -> Result<EmbedAnswer, EmbedError> {
        let model = ModelName::new(MODEL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let answer = self
            .embedder
            .embed(EmbedRequest::prepared(model, texts.clone(), Lane::Interactive, deadline))
            .await?;
        let want: Vec<_> = texts.iter().map(|text| vector(text)).collect();
        assert_eq!(answer.embeddings, want);
        Ok(answer)
    }

    /// Enough texts for every upstream to have a share, all of them answered.
    async fn ask_all(&self) {
        self.try_new(16).await.unwrap();
        a_moment().await;
    }

    /// How often an upstream was asked that.
    fn n_asked(&self, index: usize, what: Asked) -> usize {
        self.fakes[index].times(what).len()
    }

    fn upstream(&self, index: usize) -> UpstreamStatus {
        self.embedder.upstreams().swap_remove(index)
    }

    fn state(&self, index: usize) -> UpstreamState {
        self.upstream(index).state
    }

    fn model(&self, index: usize) -> ModelStatus {
        let models = self.upstream(index).models;
        models.into_iter().find(|model| model.name == MODEL).unwrap()
    }

    /// Why an upstream gets no texts of the model; nothing where it does.
    fn stands_by(&self, index: usize) -> Option<String> {
        match self.model(index).standing {
            Standing::StandsBy { reason } => Some(reason),
            Standing::TakesPart | Standing::Unasked => None,
        }
    }
}

/// Lets everything happen that can.
async fn a_moment() {
    seconds(0.001).await;
}

/// Lets time pass, of which nothing is really waited for.
async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
