//! What a client asks for by headers of ours, and what it is told by them.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::error::ApiError;
use crate::embed::{EmbedAnswer, Lane};
use crate::model::Purpose;

const PURPOSE: &str = "x-embergate-purpose";
const LANE: &str = "x-embergate-lane";
const TIMEOUT: &str = "x-embergate-timeout-ms";
const PREPARED: &str = "x-embergate-prepared";
const CACHE: &str = "x-embergate-cache";
const NOTICE: &str = "x-embergate-notice";

/// The headers that are read from requests.
#[cfg(test)]
pub(super) const READ: [&str; 4] = [PURPOSE, LANE, TIMEOUT, PREPARED];

/// Indexes named in a notice, at most.
const MAX_NAMED: usize = 10;

/// The request's headers of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) purpose: Purpose,
    pub(super) lane: Option<Lane>,
    pub(super) timeout: Duration,
    pub(super) prepared: bool,
}

/// How long a request may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// Where the client sets no time.
    pub(super) unasked: Duration,
    pub(super) longest: Duration,
}

impl Options {
    /// Reads them; what is absent has its default.
    ///
    /// # Errors
    /// Names the header, and what it may say.
    pub(super) fn from_headers(headers: &HeaderMap, times: Times) -> Result<Self, ApiError> {
        let purpose = match word(headers, PURPOSE).as_deref() {
            None | Some("document") => Purpose::Document,
            Some("query") => Purpose::Query,
            Some(_) => {
                return Err(ApiError::invalid(PURPOSE, "`x-embergate-purpose` is `query` or `document`"));
            }
        };
        let lane = match word(headers, LANE).as_deref() {
            None => None,
            Some("interactive") => Some(Lane::Interactive),
            Some("bulk") => Some(Lane::Bulk),
            Some(_) => return Err(ApiError::invalid(LANE, "`x-embergate-lane` is `interactive` or `bulk`")),
        };
        let prepared = match word(headers, PREPARED).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                return Err(ApiError::invalid(PREPARED, "`x-embergate-prepared` is `true` or `false`"));
            }
        };
        let timeout = match word(headers, TIMEOUT) {
            None => times.unasked,
            Some(millis) => match millis.parse() {
                Ok(millis @ 1..) => Duration::from_millis(millis),
                _ => {
                    let message = "`x-embergate-timeout-ms` is a whole number of milliseconds from 1";
                    return Err(ApiError::invalid(TIMEOUT, message));
                }
            },
        };
        Ok(Self { purpose, lane, timeout: timeout.min(times.longest), prepared })
    }
}

/// A header in lower case; one that is no text is an empty word, which nothing accepts.
fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap_or("").trim().to_ascii_lowercase())
}

/// Tells what became of a request: its purpose, `hits/texts`, and what was dropped or cut.
pub(super) fn tell(headers: &mut HeaderMap, purpose: Purpose, answer: &EmbedAnswer, dropped: &[&str]) {
    headers.insert(PURPOSE, HeaderValue::from_static(purpose.as_str()));
    let cache = format!("{}/{}", answer.n_hits, answer.embeddings.len());
    insert(headers, CACHE, &cache);
    if let Some(notice) = notice(&answer.truncated, dropped) {
        insert(headers, NOTICE, &notice);
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// One line about everything that is not as asked.
fn notice(truncated: &[usize], dropped: &[&str]) -> Option<String> {
    let mut parts = Vec::new();
    if !dropped.is_empty() {
        parts.push(format!("dropped, because the gateway sets it for each model: {}", dropped.join(", ")));
    }
    if !truncated.is_empty() {
        let named: Vec<_> = truncated.iter().take(MAX_NAMED).map(usize::to_string).collect();
        let more = match truncated.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        parts.push(format!("truncated texts: {}{more}", named.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { unasked: Duration::from_secs(60), longest: Duration::from_secs(600) };

    const DEFAULTS: Options =
        Options { purpose: Purpose::Document, lane: None, timeout: Duration::from_secs(60), prepared: false };

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], want: Result<Options, &'static str>) {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        match (Options::from_headers(&headers, TIMES), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(param)) => {
                assert!(format!("{got:?}").contains(&format!("param: Some({param:?})")), "{got:?}");
            }
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn without_headers_there_are_defaults() {
        check(&[], Ok(DEFAULTS));
    }

    #[test]
    fn each_header_is_read() {
        check(&[(PURPOSE, "Query")], Ok(Options { purpose: Purpose::Query, ..DEFAULTS }));
        check(&[(LANE, "bulk")], Ok(Options { lane: Some(Lane::Bulk), ..DEFAULTS }));
        check(&[(PREPARED, "true")], Ok(Options { prepared: true, ..DEFAULTS }));
        check(&[(TIMEOUT, "1500")], Ok(Options { timeout: Duration::from_millis(1500), ..DEFAULTS }));
    }

    #[test]
    fn a_longer_time_than_allowed_is_the_longest_allowed() {
        let longest = Options { timeout: Duration::from_secs(600), ..DEFAULTS };
        check(&[(TIMEOUT, "18446744073709551615")], Ok(longest));
    }

    #[test]
    fn a_value_that_means_nothing_names_its_header() {
        check(&[(PURPOSE, "search")], Err(PURPOSE));
        check(&[(LANE, "")], Err(LANE));
        check(&[(PREPARED, "1")], Err(PREPARED));
        check(&[(TIMEOUT, "0")], Err(TIMEOUT));
        check(&[(TIMEOUT, "-5")], Err(TIMEOUT));
        check(&[(TIMEOUT, "5s")], Err(TIMEOUT));
    }

    #[test]
    fn a_notice_names_what_was_dropped_and_the_first_texts_that_were_cut() {
        assert_eq!(notice(&[], &[]), None);
        assert_eq!(
            notice(&[1, 4], &["keep_alive", "options"]).as_deref(),
            Some(
                "dropped, because the gateway sets it for each model: keep_alive, options; truncated texts: 1, 4"
            )
        );
        let many: Vec<_> = (0..12).collect();
        assert_eq!(
            notice(&many, &[]).as_deref(),
            Some("truncated texts: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more")
        );
    }
}
