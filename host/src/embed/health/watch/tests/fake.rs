//! An upstream without a server, which fails as it is told and keeps what it was asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use embergate_test_support::gate::{Gate, Held};
use tokio::time::Instant;

use crate::embed::CANARY;
use crate::model::Embedding;
use crate::upstream::{Answers, Backend, Call, Identity, Offered, UpstreamError};

/// What is asked of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Reach,
    Identity,
    Canary,
    Texts,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fails {
    Nothing,
    /// Every call for embeddings, the canary's too.
    Embedding,
    /// Every call but the canary's.
    Texts,
    /// Every call but the canary's, with vectors of another model.
    Dimensions,
    /// Nobody is there.
    Reaching,
    /// The model is gone.
    Model,
}

pub(super) struct Fake {
    script: Mutex<Script>,
    /// Canaries wait here.
    gate: Gate,
}

struct Script {
    fails: Fails,
    digest: &'static str,
    /// The canary's vector is that of this text.
    sings: &'static str,
    asked: Vec<(Instant, Asked)>,
}

impl Default for Fake {
    fn default() -> Self {
        let script = Script { fails: Fails::Nothing, digest: "old", sings: CANARY, asked: Vec::new() };
        Self { script: Mutex::new(script), gate: Gate::default() }
    }
}

/// What every upstream gives for `text`.
pub(super) fn vector(text: &str) -> Embedding {
    let number = text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let angle = f64::from(number) / f64::from(u32::MAX) * std::f64::consts::TAU;
    Embedding::new(vec![angle.cos() as f32, angle.sin() as f32]).unwrap()
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, fails: Fails) {
        self.lock().fails = fails;
    }

    pub(super) fn set_digest(&self, digest: &'static str) {
        self.lock().digest = digest;
    }

    pub(super) fn sing(&self, text: &'static str) {
        self.lock().sings = text;
    }

    /// Holds canaries from now on.
    pub(super) fn hold(&self) -> Held {
        self.gate.hold()
    }

    /// Forgets what it was asked so far.
    pub(super) fn forget(&self) {
        self.lock().asked.clear();
    }

    /// When it was asked that.
    pub(super) fn times(&self, what: Asked) -> Vec<Instant> {
        self.lock().asked.iter().filter(|(_, asked)| *asked == what).map(|(at, _)| *at).collect()
    }

    fn is_asked(&self, asked: Asked) -> (Fails, &'static str, &'static str) {
        let mut script = self.lock();
        script.asked.push((Instant::now(), asked));
        (script.fails, script.digest, script.sings)
    }
}

fn upstream() -> String {
    "fake".to_owned()
}

fn gone() -> UpstreamError {
    let source = std::io::Error::other("Connection refused").into();
    UpstreamError::Connect { upstream: upstream(), url: "http://nowhere".to_owned(), source }
}

#[async_trait]
impl Backend for Fake {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        let is_canary = call.texts.iter().all(|text| **text == *CANARY);
        if is_canary {
            self.gate.pass().await;
        }
        let (fails, _, sings) = self.is_asked(if is_canary { Asked::Canary } else { Asked::Texts });
        let model = || call.model.to_string();
        let fault = || UpstreamError::Fault { upstream: upstream(), message: "EOF".to_owned() };
        match fails {
            Fails::Embedding => return Err(fault()),
            Fails::Texts if !is_canary => return Err(fault()),
            Fails::Dimensions if !is_canary => {
                let (upstream, model) = (upstream(), model());
                return Err(UpstreamError::Dimensions { upstream, model, want: 2, got: 3 });
            }
            Fails::Reaching => return Err(gone()),
            Fails::Model => return Err(UpstreamError::NoModel { upstream: upstream(), model: model() }),
            Fails::Nothing | Fails::Texts | Fails::Dimensions => {}
        }
        let texts = call.texts.iter().map(|text| Ok(vector(if is_canary { sings } else { text })));
        Ok(Answers { texts: texts.collect(), n_tokens: None })
    }

    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError> {
        let (fails, digest, _) = self.is_asked(Asked::Identity);
        match fails {
            Fails::Reaching => Err(gone()),
            Fails::Model => Err(UpstreamError::NoModel { upstream: upstream(), model: model.to_owned() }),
            _ => Ok(Identity { text: digest.to_owned(), is_read: true }),
        }
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        Ok(Vec::new())
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        match self.is_asked(Asked::Reach).0 {
            Fails::Reaching => Err(gone()),
            _ => Ok(()),
        }
    }
}
