//! One key: what it may do, how much of it is left, and what was done with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::super::error::ApiError;
use super::KeyConfig;
use super::counts::{Counts, Refused};
use super::quota::{Quota, Spent};
use super::right::{self, Need, Right};
use super::secret::KeyHash;
use crate::embed::{EmbedRequest, Lane};

/// A key that is known here.
pub(crate) struct Key {
    pub(super) name: Arc<str>,
    pub(super) hash: KeyHash,
    rights: Vec<Right>,
    pub(super) lane: Option<Lane>,
    requests: Option<Quota>,
    texts: Option<Quota>,
    counts: Counts,
}

/// What a key may do, and what was done with it since the start.
pub(crate) struct Usage<'k> {
    pub(crate) name: &'k str,
    pub(crate) rights: &'k [Right],
    pub(crate) lane: Option<Lane>,
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) texts_per_minute: Option<u32>,
    /// Let in; so for texts.
    pub(crate) n_requests: u64,
    pub(crate) n_texts: u64,
    /// Requests that lacked a right, or came too soon.
    pub(crate) n_refused: u64,
    pub(crate) last_used: Option<SystemTime>,
}

impl Key {
    pub(super) fn new(table: &KeyConfig, hash: KeyHash, epoch: Instant) -> Self {
        let quota = |per_minute: Option<u32>| per_minute.map(|per_minute| Quota::new(per_minute, epoch));
        Self {
            name: table.name.as_str().into(),
            hash,
            rights: table.rights.clone(),
            lane: table.lane,
            requests: quota(table.requests_per_minute),
            texts: quota(table.texts_per_minute),
            counts: Counts::new(&table.name),
        }
    }

    /// Charges one request, if the key has what it needs.
    pub(super) fn let_in(&self, need: Need, now: Instant) -> Result<(), ApiError> {
        self.check(need)?;
        if let Some(requests) = &self.requests {
            requests.take(1, now).map_err(|spent| self.over(Refused::Requests, requests, 1, spent))?;
        }
        self.counts.request();
        Ok(())
    }

    /// Charges the texts of `request`, and returns their number.
    pub(super) fn charge(&self, request: &EmbedRequest, now: Instant) -> Result<u64, ApiError> {
        self.check_lane(request.lane)?;
        right::of_embedding(request, self.lane).try_for_each(|need| self.check(need))?;
        let n_texts = request.texts.len() as u64;
        if let Some(texts) = &self.texts {
            texts.take(n_texts, now).map_err(|spent| self.over(Refused::Texts, texts, n_texts, spent))?;
        }
        self.counts.texts(n_texts);
        Ok(n_texts)
    }

    pub(super) fn give_back(&self, n_texts: u64) {
        if let Some(texts) = &self.texts {
            texts.give_back(n_texts);
        }
    }

    /// Tells what is left of its limits.
    pub(super) fn tell(&self, headers: &mut HeaderMap, now: Instant) {
        for (quota, [limit, remaining, reset]) in [(&self.requests, REQUESTS), (&self.texts, TEXTS)] {
            let Some(quota) = quota else { continue };
            headers.insert(limit, quota.per_minute().into());
            headers.insert(remaining, quota.remaining(now).into());
            if let Ok(time) = HeaderValue::from_str(&written(quota.reset(now))) {
                headers.insert(reset, time);
            }
        }
    }

    pub(super) fn usage(&self) -> Usage<'_> {
        Usage {
            name: &self.name,
            rights: &self.rights,
            lane: self.lane,
            requests_per_minute: self.requests.as_ref().map(Quota::per_minute),
            texts_per_minute: self.texts.as_ref().map(Quota::per_minute),
            n_requests: self.counts.n_requests(),
            n_texts: self.counts.n_texts(),
            n_refused: self.counts.n_refused(),
            last_used: self.counts.last_used(),
        }
    }

    fn check(&self, need: Need) -> Result<(), ApiError> {
        if need.any.iter().any(|right| self.rights.contains(right)) {
            return Ok(());
        }
        self.counts.refused(Refused::Right);
        let rights: Vec<String> = need.any.iter().map(|right| format!("`{}`", right.as_str())).collect();
        let (name, rights, what) = (&self.name, rights.join(" or "), need.what);
        Err(ApiError::insufficient_rights(format!(
            "the key `{name}` lacks the right {rights}, which {what} needs: `rights` of its [[key]] table gives it"
        )))
    }

    /// What a key keeps to bulk stays there, whatever a header says.
    fn check_lane(&self, by_header: Option<Lane>) -> Result<(), ApiError> {
        if (self.lane, by_header) != (Some(Lane::Bulk), Some(Lane::Interactive)) {
            return Ok(());
        }
        self.counts.refused(Refused::Right);
        Err(ApiError::insufficient_rights(format!(
            "the key `{}` is kept to the bulk lane, and `x-embergate-lane: interactive` asks for the other one: leave the header out, or change `lane` of its [[key]] table",
            self.name
        )))
    }

    fn over(&self, reason: Refused, quota: &Quota, asked: u64, spent: Spent) -> ApiError {
        self.counts.refused(reason);
        let (name, limit) = (&self.name, quota.per_minute());
        let what = if reason == Refused::Texts { "texts" } else { "requests" };
        match spent {
            Spent::Until(wait) => {
                let message =
                    format!("the key `{name}` may send {limit} {what} a minute, and too few are left");
                ApiError::over_limit(message, Some(wait))
            }
            Spent::Never => {
                let message = format!(
                    "the key `{name}` may send {limit} {what} a minute, fewer than the {asked} of this request: send fewer at once"
                );
                ApiError::over_limit(message, None)
            }
        }
    }
}

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TEXTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-texts"),
    HeaderName::from_static("x-ratelimit-remaining-texts"),
    HeaderName::from_static("x-ratelimit-reset-texts"),
];

/// A time as OpenAI writes it: `850ms`, `1s`, `1m0s`. Rounded up.
fn written(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    match millis.div_ceil(1000) {
        0 => "0s".to_owned(),
        1 if millis < 1000 => format!("{millis}ms"),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelName, Purpose};

    const ROUTE: Need = Need { what: "/v1/embeddings", any: &[Right::Embed] };

    /// A key with more lines in its table.
    fn key(lines: &str) -> Key {
        let hash = KeyHash::of(b"secret");
        let table = format!("name = \"app\"\nsha256 = \"{}\"\n{lines}", hash.to_hex());
        Key::new(&toml::from_str(&table).unwrap(), hash, Instant::now())
    }

    fn request(n_texts: usize) -> EmbedRequest {
        EmbedRequest {
            model: ModelName::new("m").unwrap(),
            texts: vec!["a".into(); n_texts],
            purpose: Purpose::Document,
            truncate: false,
            dimensions: None,
            lane: None,
            prepared: false,
            space: None,
            deadline: Instant::now(),
        }
    }

    /// Whether it was let through, with which status, and what was said.
    #[track_caller]
    fn check<T>(asked: Result<T, ApiError>, want: Result<(), (u16, &str)>) {
        match (asked, want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err((status, words))) => {
                assert_eq!(error.status, status, "{error:?}");
                assert!(format!("{error:?}").contains(words), "{error:?}");
            }
            (asked, want) => panic!("{:?} is not {want:?}", asked.err()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_come_back_with_time() {
        let key = key("requests_per_minute = 2");
        let ask = || key.let_in(ROUTE, Instant::now());
        check(ask(), Ok(()));
        check(ask(), Ok(()));
        check(ask(), Err((429, "the key `app` may send 2 requests a minute")));
        tokio::time::advance(Duration::from_secs(30)).await;
        check(ask(), Ok(()));
        check(ask(), Err((429, "After(30s)")));
    }

    #[tokio::test(start_paused = true)]
    async fn texts_that_were_refused_are_not_charged() {
        let key = key("texts_per_minute = 10");
        let charge = |n_texts| key.charge(&request(n_texts), Instant::now());
        check(charge(8), Ok(()));
        for _ in 0..5 {
            check(charge(3), Err((429, "may send 10 texts a minute, and too few are left")));
        }
        check(charge(2), Ok(()));
        key.give_back(2);
        check(charge(2), Ok(()));
        check(charge(11), Err((429, "fewer than the 11 of this request")));
        assert_eq!((key.usage().n_texts, key.usage().n_refused), (12, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_is_named_and_charges_nothing() {
        let key = key("rights = [\"search\"]\nrequests_per_minute = 1\ntexts_per_minute = 1");
        check(key.let_in(ROUTE, Instant::now()), Err((403, "key `app` lacks the right `embed`")));
        let bulk = EmbedRequest { purpose: Purpose::Query, lane: Some(Lane::Bulk), ..request(1) };
        check(
            key.charge(&bulk, Instant::now()),
            Err((403, "lacks the right `index`, which `x-embergate-lane: bulk` needs")),
        );
        check(
            key.charge(&request(1), Instant::now()),
            Err((403, "lacks the right `embed` or `index`, which embedding a document needs")),
        );
        check(key.charge(&EmbedRequest { lane: None, ..bulk }, Instant::now()), Ok(()));
        let usage = key.usage();
        assert_eq!((usage.n_requests, usage.n_texts, usage.n_refused), (0, 1, 3));
        assert!(usage.last_used.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_kept_to_bulk_cannot_leave_it() {
        let lines = "rights = [\"search\"]\nlane = \"bulk\"\ntexts_per_minute = 1";
        let key = key(lines);
        let charge = |lane| {
            let request = EmbedRequest { purpose: Purpose::Query, lane, ..request(1) };
            key.charge(&request, Instant::now())
        };
        let refused = Err((403, "key `app` is kept to the bulk lane"));
        check(charge(Some(Lane::Interactive)), refused);
        // It needs no right to go where it belongs, and what was refused cost nothing.
        check(charge(Some(Lane::Bulk)), Ok(()));
        assert_eq!((key.usage().lane, key.usage().n_refused), (Some(Lane::Bulk), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interactive_key_goes_by_bulk_where_its_rights_let_it() {
        let charge = |rights: &str| {
            let key = key(&format!("rights = [\"embed\", {rights}]\nlane = \"interactive\""));
            let bulk = EmbedRequest { lane: Some(Lane::Bulk), ..request(1) };
            key.charge(&bulk, Instant::now())
        };
        check(charge("\"search\""), Err((403, "lacks the right `index`")));
        check(charge("\"index\""), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn headers_tell_of_limits_that_there_are() {
        let told = |key: &Key| {
            let mut headers = HeaderMap::new();
            key.tell(&mut headers, Instant::now());
            let mut told: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            told.sort();
            told
        };
        assert_eq!(told(&key("")), Vec::<String>::new());
        let limited = key("requests_per_minute = 60");
        check(limited.let_in(ROUTE, Instant::now()), Ok(()));
        let [limit, remaining, reset] =
            ["limit-requests: 60", "remaining-requests: 59", "reset-requests: 1s"]
                .map(|line| format!("x-ratelimit-{line}"));
        assert_eq!(told(&limited), [limit, remaining, reset]);
        let limited = key("texts_per_minute = 100");
        check(limited.charge(&request(100), Instant::now()), Ok(()));
        let [limit, remaining, reset] = ["limit-texts: 100", "remaining-texts: 0", "reset-texts: 1m0s"]
            .map(|line| format!("x-ratelimit-{line}"));
        assert_eq!(told(&limited), [limit, remaining, reset]);
    }

    #[test]
    fn times_are_written_as_openai_writes_them() {
        for (micros, want) in [
            (0, "0s"),
            (1, "1ms"),
            (850_000, "850ms"),
            (999_001, "1s"),
            (1_000_000, "1s"),
            (1_000_001, "2s"),
            (59_000_000, "59s"),
            (60_000_000, "1m0s"),
            (361_000_000, "6m1s"),
        ] {
            assert_eq!(written(Duration::from_micros(micros)), want);
        }
    }
}
