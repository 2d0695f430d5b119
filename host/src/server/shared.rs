//! What both listeners answer from, and what every route that embeds does with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Body;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::answers::Answers;
use super::body::{Bodies, Held};
use super::error::ApiError;
use super::exchange::Exchange;
use super::keys::Keys;
use super::options::Times;
use super::parsing::{self, Parsing};
use super::wire::Limits;
use super::{Config, Told};
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder, Resolved};
use crate::model::{ModelName, Purpose};
use crate::telemetry::Metrics;

/// Numbers that are turned into text on the spot; more would hold up other requests.
const MAX_NUMBERS_INLINE: usize = 64 * 1024;

/// What both listeners answer from.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) embedder: Arc<Embedder>,
    /// In seconds since 1970.
    pub(super) started: u64,
    pub(super) keys: Keys,
    pub(super) told: Told,
    answers: Answers,
    pub(super) bodies: Bodies,
    pub(super) parsing: Parsing,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Keys,
        told: Told,
        embedder: Arc<Embedder>,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (answers, bodies) = (Answers::new(&config), Bodies::new(&config, tasks));
        let parsing = Parsing::new(&config);
        Arc::new(Self { config, embedder, started, keys, told, answers, bodies, parsing, metrics })
    }

    pub(super) fn times(&self) -> Times {
        Times { unasked: self.embedder.timeout(), longest: self.config.max_timeout }
    }

    /// What a body may ask for.
    pub(super) fn limits(&self) -> Limits {
        let embed = self.embedder.config();
        Limits {
            max_depth: self.config.max_json_depth,
            max_texts: embed.max_texts,
            max_decoded: usize::try_from(self.config.max_body.as_u64()).unwrap_or(usize::MAX),
            token_arrays: embed.token_arrays,
        }
    }

    /// The model that a client means, by any word that [`Embedder::resolve`] knows.
    /// Where nobody knows it, waits for upstreams to be asked, within `timeout` of `begun`. Each API has its own
    /// words for a client that names none.
    pub(super) async fn model(
        &self,
        asked: &str,
        begun: Instant,
        timeout: Duration,
    ) -> Result<Resolved, ApiError> {
        if let Some(resolved) = self.embedder.resolve(asked) {
            return Ok(resolved);
        }
        if asked.is_empty() {
            return Err(ApiError::no_model(""));
        }
        let name = ModelName::new(asked).map_err(|error| {
            ApiError::invalid("model", error.to_string()).in_ollamas_words("invalid model name")
        })?;
        let found = self.embedder.find_by(|| self.embedder.resolve(asked));
        match tokio::time::timeout_at(begun + timeout, found).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(ApiError::from(&self.embedder.unknown(name))),
            Err(_) => Err(ApiError::from(&EmbedError::Deadline(timeout))),
        }
    }

    /// What is put before a text of `purpose`.
    pub(super) fn prompt(&self, model: &ModelName, purpose: Purpose) -> String {
        self.embedder.model(model).map(|model| model.prompts.of(purpose).to_owned()).unwrap_or_default()
    }

    /// Whether texts that are too long are cut: as the client says, else the model's table, else the API.
    pub(super) fn truncate(&self, model: &ModelName, asked: Option<bool>, api: bool) -> bool {
        asked.or_else(|| self.embedder.model(model)?.truncate).unwrap_or(api)
    }

    /// Reads the request's body.
    pub(super) async fn read<B>(&self, exchange: &mut Exchange, body: B) -> Result<Held, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let begun = Instant::now();
        let body = self.bodies.read(&exchange.headers, body).await?;
        exchange.record.timings.read = begun.elapsed();
        exchange.record.bytes_in = body.bytes.len();
        Ok(body)
    }

    /// Parses `body` by `read`, in its turn where it is large.
    pub(super) async fn understood<T: Send + 'static>(
        &self,
        body: &Bytes,
        read: impl FnOnce(&Bytes) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if body.len() <= parsing::MAX_INLINE {
            return read(body);
        }
        let body = body.clone();
        self.parsing.take_time(move || read(&body)).await
    }

    /// Embeds what the caller may embed, and logs what is not the client's fault with all its causes.
    pub(super) async fn embed(
        &self,
        exchange: &mut Exchange,
        mut request: EmbedRequest,
    ) -> Result<EmbedAnswer, ApiError> {
        let by_key = exchange.caller.lane();
        exchange.record.asked(&request, self.embedder.lane(&request, by_key));
        let model = request.model.clone();
        let charge = exchange.caller.charge(&request)?;
        request.lane = request.lane.or(by_key);
        let answer = self.embedder.embed(request).await.map_err(|error| {
            if is_unspent(&error) {
                charge.undo();
            }
            let answer = ApiError::from(&error);
            if answer.status.is_server_error() {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(request_id = exchange.id, %model, error, "texts could not be embedded");
            }
            answer
        })?;
        exchange.record.embedded(&answer);
        Ok(answer)
    }

    /// Runs `encode`, which makes about `n_bytes`, once there is room for them: here if
    /// `answer` is small, else on a thread that may take its time.
    ///
    /// # Errors
    /// No room until `deadline`.
    pub(super) async fn write(
        &self,
        exchange: &mut Exchange,
        answer: &EmbedAnswer,
        n_bytes: usize,
        deadline: Instant,
        encode: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let begun = Instant::now();
        let room = self.answers.room(n_bytes, deadline).await?;
        let n_numbers: usize = answer.embeddings.iter().map(|embedding| embedding.dimensions()).sum();
        let json = if n_numbers <= MAX_NUMBERS_INLINE {
            room.keep(encode())
        } else {
            let written = tokio::task::spawn_blocking(move || room.keep(encode())).await;
            written.map_err(|_| ApiError::internal("the answer could not be written"))?
        };
        exchange.record.timings.encode = begun.elapsed();
        Ok(json)
    }
}

/// Whether texts were refused before any work was done for them.
fn is_unspent(error: &EmbedError) -> bool {
    matches!(error, EmbedError::Overloaded { .. } | EmbedError::TooManyTexts { .. })
}
