//! Who asks, as far as their key tells.

use std::sync::Arc;

use hyper::HeaderMap;
use tokio::time::Instant;

use super::super::error::ApiError;
use super::key::Key;
use super::right::Need;
use super::strangers::Stranger;
use crate::embed::{EmbedRequest, Lane};

/// Whom a request comes from.
#[derive(Clone)]
pub(crate) enum Caller {
    /// No keys are configured: everybody may do everything.
    Anyone,
    Known(Arc<Key>),
    Stranger(Stranger),
}

/// Whose key was not looked at is a stranger.
impl Default for Caller {
    fn default() -> Self {
        Self::Stranger(Stranger::NoKey)
    }
}

/// Texts that were charged to a key, if there is one.
#[must_use]
pub(crate) struct Charge(Option<(Arc<Key>, u64)>);

impl Caller {
    /// What the key is called.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        match self {
            Self::Anyone | Self::Stranger(_) => None,
            Self::Known(key) => Some(key.name.clone()),
        }
    }

    /// Charges a request that needs `need`.
    pub(super) fn let_in(&self, need: Need, now: Instant) -> Result<(), ApiError> {
        match self {
            Self::Anyone => Ok(()),
            Self::Known(key) => key.let_in(need, now),
            Self::Stranger(stranger) => Err(unauthorized(*stranger)),
        }
    }

    /// The lane of requests with this key that name none, where the key has one.
    pub(crate) fn lane(&self) -> Option<Lane> {
        match self {
            Self::Anyone | Self::Stranger(_) => None,
            Self::Known(key) => key.lane,
        }
    }

    /// Charges the texts of `request`, whose lane is the one that its header names.
    ///
    /// # Errors
    /// The key lacks a right, or has too little left; then nothing was charged.
    pub(crate) fn charge(&self, request: &EmbedRequest) -> Result<Charge, ApiError> {
        match self {
            Self::Anyone => Ok(Charge(None)),
            Self::Known(key) => Ok(Charge(Some((key.clone(), key.charge(request, Instant::now())?)))),
            Self::Stranger(stranger) => Err(unauthorized(*stranger)),
        }
    }

    /// Tells by headers what is left of the key's limits.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        match self {
            Self::Anyone | Self::Stranger(_) => {}
            Self::Known(key) => key.tell(headers, Instant::now()),
        }
    }
}

impl Charge {
    /// Gives the texts back: they were refused before anything was spent on them.
    pub(crate) fn undo(self) {
        if let Some((key, n_texts)) = self.0 {
            key.give_back(n_texts);
        }
    }
}

fn unauthorized(stranger: Stranger) -> ApiError {
    ApiError::unauthorized(match stranger {
        Stranger::NoKey => {
            "no API key was sent: send one as `authorization: Bearer KEY` or as `x-api-key: KEY`"
        }
        Stranger::WrongKey => "the API key is none that is known here",
    })
}
