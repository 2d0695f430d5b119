//! Another gateway, asked as nobody else is: it is told what texts are for, whether they are
//! prepared and how urgent they are, and does with them what it does with its own clients' texts.
//!
//! What it says of its models (`/api/embergate`) is enough to prepare texts for them here as
//! there: tokenizer, prompts, limits, and the fingerprints of the spaces that its vectors are of.
//! So a collection is the same one, whichever of the two has embedded its chunks.

mod facts;
mod flow;
mod lists;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::facts::{Facts, Tokenizers};
use self::flow::Flow;
use self::lists::Bounds;
use super::http::{Answer, LIST_VECTORS, PURPOSE, Peer, Told, message_of};
use super::ollama::alone;
use super::openai::{List, in_order};
use super::{Answers, Backend, Call, Identity, Offered, TextFault, UpstreamError, check};
use crate::model::Embedding;

pub use self::facts::space_of;

/// How long to wait where nothing is said of it.
const WAIT: Duration = Duration::from_secs(1);
/// A `tokenizer.json` may be as long as this many vectors, 64 MiB.
const TOKENIZER_VECTORS: usize = 128;

/// Texts of a list that may fail one by one; of more, all are asked for in smaller lists.
const MAX_FAULTS: usize = 8;

/// What the gateway is told of texts.
const LANE: &str = "x-embergate-lane";
const PREPARED: &str = "x-embergate-prepared";
const TIMEOUT: &str = "x-embergate-timeout-ms";
/// Vectors of another one are refused.
const SPACE: &str = "x-embergate-space";

pub(super) struct Embergate {
    peer: Peer,
    flow: Flow,
    tokenizers: Tokenizers,
    /// As it said them last.
    bounds: Mutex<Bounds>,
}

impl Embergate {
    pub(super) fn new(peer: Peer, max_in_flight: usize) -> Self {
        let flow = Flow::new(max_in_flight);
        Self { peer, flow, tokenizers: Tokenizers::default(), bounds: Mutex::default() }
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the gateway says of itself and its models.
    async fn facts(&self) -> Result<Facts, UpstreamError> {
        let answer = self.peer.ask(self.peer.get("/api/embergate"), LIST_VECTORS).await?;
        match answer.status {
            StatusCode::OK => match Facts::read(&answer.body) {
                Some(read) => read.map_err(|reason| self.no_gateway(reason)),
                None => Err(self.stranger().await),
            },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(self.stranger().await),
            _ => Err(self.failure("models", &answer)),
        }
    }

    /// Who it is that does not answer as a gateway should.
    async fn stranger(&self) -> UpstreamError {
        #[derive(Deserialize)]
        struct Version {
            version: String,
            embergate: Option<String>,
        }
        let answer = self.peer.ask(self.peer.get("/api/version"), 0).await;
        let version = answer.ok().and_then(|answer| self.peer.parse::<Version>(&answer).ok());
        let reason = match version {
            Some(Version { embergate: Some(version), .. }) => format!(
                "it is Embergate {version}, which other gateways cannot ask yet: upgrade it to {}",
                env!("CARGO_PKG_VERSION")
            ),
            Some(Version { version, .. }) => {
                format!("it speaks as Ollama {version} does, and is no Embergate")
            }
            None => "it is no Embergate".to_owned(),
        };
        self.no_gateway(reason)
    }

    fn no_gateway(&self, reason: String) -> UpstreamError {
        UpstreamError::NoGateway { upstream: self.peer.name.clone(), url: self.peer.url.clone(), reason }
    }

    /// Fetches what texts are counted by, where it is not known.
    async fn learn_tokenizers(&self, facts: &Facts) -> Result<(), UpstreamError> {
        let wanted = facts.tokenizers();
        self.tokenizers.keep(&wanted);
        for id in wanted {
            if self.tokenizers.knows(id) {
                continue;
            }
            let question = self.peer.get_slow(&format!("/api/embergate/tokenizers/{id}"));
            let answer = self.peer.ask(question, TOKENIZER_VECTORS).await?;
            if !answer.status.is_success() {
                return Err(self.failure("tokenizers", &answer));
            }
            let learnt = self.tokenizers.learn(id.to_owned(), answer.body).await;
            learnt.map_err(|reason| self.peer.nonsense(reason))?;
        }
        Ok(())
    }

    /// What becomes of each text of `list`. The gateway names the first text that fails, and fails all
    /// for it: the others are asked for again, which it knows by then.
    async fn each(
        &self,
        call: &Call,
        list: Range<usize>,
    ) -> Result<Vec<Result<Vec<f32>, TextFault>>, UpstreamError> {
        let mut faults: BTreeMap<usize, TextFault> = BTreeMap::new();
        loop {
            let asked: Vec<usize> = list.clone().filter(|index| !faults.contains_key(index)).collect();
            let input: Vec<&str> = asked.iter().map(|index| &*call.texts[*index]).collect();
            let body =
                Request { model: &call.model, input, truncate: call.truncate, encoding_format: "base64" };
            let vectors = match self.vectors(call, &body).await {
                Ok(vectors) if vectors.len() == asked.len() => vectors,
                Ok(vectors) => {
                    let (upstream, sent, got) = (self.peer.name.clone(), asked.len(), vectors.len());
                    return Err(UpstreamError::Count { upstream, sent, got });
                }
                Err(Failed::Call(error)) => return Err(error),
                Err(Failed::Text(at, fault)) if at < asked.len() && faults.len() < MAX_FAULTS => {
                    faults.insert(asked[at], fault);
                    if 1 < asked.len() {
                        continue;
                    }
                    Vec::new()
                }
                Err(Failed::Text(_, fault)) => {
                    let (upstream, message) = (self.peer.name.clone(), fault.to_string());
                    return Err(UpstreamError::Refused { upstream, message });
                }
            };
            let mut vectors = vectors.into_iter();
            let each = list.filter_map(|index| match faults.remove(&index) {
                Some(fault) => Some(Err(fault)),
                None => vectors.next().map(Ok),
            });
            return Ok(each.collect());
        }
    }

    /// The vectors among `found` as embeddings, checked as everybody's.
    fn checked(
        &self,
        call: Call,
        found: Vec<Result<Vec<f32>, TextFault>>,
    ) -> Result<Vec<Result<Embedding, TextFault>>, UpstreamError> {
        let texts = call.texts.iter().zip(&found).filter(|(_, found)| found.is_ok());
        let call = Call { texts: texts.map(|(text, _)| text.clone()).collect(), ..call };
        let mut faults = Vec::with_capacity(found.len());
        let mut vectors = Vec::with_capacity(found.len());
        for one in found {
            match one {
                Ok(vector) => {
                    vectors.push(vector);
                    faults.push(None);
                }
                Err(fault) => faults.push(Some(fault)),
            }
        }
        let mut embeddings = check::embeddings(&self.peer.name, &call, vectors)?.into_iter();
        let each = faults.into_iter().filter_map(|fault| match fault {
            Some(fault) => Some(Err(fault)),
            None => embeddings.next().map(Ok),
        });
        Ok(each.collect())
    }

    /// The vectors of `body`'s texts, waiting as often as the gateway says so, for as long as
    /// one call may take.
    async fn vectors(&self, call: &Call, body: &Request<'_>) -> Result<Vec<Vec<f32>>, Failed> {
        let until = Instant::now() + self.peer.timeout;
        let busy = || UpstreamError::Busy { upstream: self.peer.name.clone() };
        loop {
            let turn = self.flow.turn(until).await.ok_or_else(busy)?;
            let question = self.peer.post_with("/v1/embeddings", self.headers(call), body);
            let answer = match self.peer.ask(question, body.input.len()).await {
                Ok(answer) => answer,
                Err(error) => {
                    if matches!(error, UpstreamError::Timeout { .. }) {
                        turn.too_much(Duration::ZERO);
                    }
                    return Err(error.into());
                }
            };
            if answer.status.is_success() {
                turn.went_well();
                let list: List = self.peer.parse(&answer)?;
                return in_order(list.data).map_err(|reason| self.peer.nonsense(reason).into());
            }
            if let Some((at, fault)) = text_of(&answer) {
                return Err(Failed::Text(at, fault));
            }
            let wait = comes_later(&answer, call.manner.is_bulk);
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait <= until) else {
                if let Some(wait) = wait {
                    turn.too_much(wait);
                }
                return Err(self.failure(&call.model, &answer).into());
            };
            turn.too_much(wait);
        }
    }

    fn headers(&self, call: &Call) -> HeaderMap {
        let word = HeaderValue::from_static;
        let millis = u64::try_from(self.peer.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut headers = HeaderMap::from_iter(
            [
                (PURPOSE.parse().ok(), word(call.manner.purpose.as_str())),
                (TIMEOUT.parse().ok(), HeaderValue::from(millis)),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name?, value))),
        );
        if let Some(space) = call.space.as_deref().and_then(|space| HeaderValue::from_str(space).ok()) {
            headers.insert(SPACE, space);
        }
        if call.manner.prepared {
            headers.insert(PREPARED, word("true"));
        }
        // A key without the right `index` may embed all the same, if it does not ask for the lane.
        if call.manner.is_bulk && call.manner.prepared {
            headers.insert(LANE, word("bulk"));
        }
        headers
    }

    fn failure(&self, model: &str, answer: &Answer) -> UpstreamError {
        let upstream = self.peer.name.clone();
        let message = message_of(&answer.body);
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamError::Denied { upstream, message },
            StatusCode::CONFLICT => UpstreamError::OtherSpace { upstream, model: model.to_owned() },
            // A limit of the key that waiting does not lift.
            StatusCode::TOO_MANY_REQUESTS if answer.told.is_final => {
                UpstreamError::Denied { upstream, message }
            }
            // It has tried what can be tried, and found the text whose doing it is, if one's it is.
            status if status.is_server_error() && is_of_others(answer) => {
                UpstreamError::Behind { upstream, message }
            }
            _ => self.peer.failure(model, answer),
        }
    }
}

/// Why a list has no vectors.
enum Failed {
    /// The text at this place, and not the others.
    Text(usize, TextFault),
    Call(UpstreamError),
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Self {
        Self::Call(error)
    }
}

/// The text that an answer is about, and what is wrong with it.
fn text_of(answer: &Answer) -> Option<(usize, TextFault)> {
    let code = code(answer)?;
    let message = message_of(&answer.body);
    let (index, said) = message.strip_prefix("text ")?.split_once(' ')?;
    let fault = match code.as_str() {
        "context_length_exceeded" => TextFault::TooLong,
        "text_unknown" => TextFault::NoKnownToken,
        "text_rejected" | "text_refused" => {
            let bare = said.strip_prefix("cannot be embedded: the upstream refused it: ");
            TextFault::Refused(bare.unwrap_or(said).to_owned())
        }
        _ => return None,
    };
    Some((index.parse().ok()?, fault))
}

/// How long to wait before the same is asked again; nothing where that is no use. Bulk work waits
/// for upstreams of the gateway too, and others are told at once that they are away.
fn comes_later(answer: &Answer, is_bulk: bool) -> Option<Duration> {
    let Told { retry_after, is_final } = answer.told;
    let waits = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        // What stands before a gateway says so too.
        StatusCode::SERVICE_UNAVAILABLE if code(answer).is_none() => true,
        status => is_bulk && status.is_server_error() && retry_after.is_some(),
    };
    (waits && !is_final).then(|| retry_after.unwrap_or(WAIT))
}

/// Whether a gateway says of what is behind it, and of no text, that it failed.
fn is_of_others(answer: &Answer) -> bool {
    code(answer).is_some_and(|code| !code.starts_with("text_"))
}

/// The gateway's word for what is wrong; nothing where it is none that speaks.
fn code(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        code: Option<String>,
    }
    serde_json::from_slice::<Body>(&answer.body).ok().and_then(|body| body.error.code)
}

#[derive(Serialize)]
struct Request<'c> {
    model: &'c str,
    input: Vec<&'c str>,
    truncate: bool,
    encoding_format: &'static str,
}

#[async_trait]
impl Backend for Embergate {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        let mut found: Vec<Result<Vec<f32>, TextFault>> = Vec::with_capacity(call.texts.len());
        for list in lists::split(&call.texts, self.bounds()) {
            match list {
                Ok(list) => match self.each(&call, list).await {
                    Ok(some) => found.extend(some),
                    Err(error) => return alone(&call, error),
                },
                Err(_) => found.push(Err(TextFault::TooLong)),
            }
        }
        // It has counted texts with what it put before them, and says itself where it cuts.
        Ok(Answers { texts: self.checked(call, found)?, n_tokens: None })
    }

    /// All spaces of the model: where one of them is another, the model is.
    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError> {
        let question = self.peer.get_slow(&format!("/api/embergate/spaces/{model}"));
        let answer = self.peer.ask(question, 0).await?;
        if !answer.status.is_success() {
            return Err(self.failure(model, &answer));
        }
        let spaces: facts::Spaces = self.peer.parse(&answer)?;
        let text = spaces.identity().map_err(|reason| self.peer.nonsense(reason))?;
        Ok(Identity { text, is_read: true })
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        let facts = self.facts().await?;
        self.learn_tokenizers(&facts).await?;
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = facts.bounds();
        Ok(facts.into_offered(&self.tokenizers))
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        // Whether its upstreams are well is its own affair, and told with the answers.
        self.peer.ask(self.peer.get("/healthz"), 0).await.map(|_| ())
    }
}
