//! What a client asks for by headers of ours, and what it is told by them.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::Value;

use super::error::ApiError;
use super::notices::Notices;
use super::wire;
use crate::cache::Space;
use crate::embed::{EmbedAnswer, Lane};
use crate::model::Purpose;

const PURPOSE: &str = "x-embergate-purpose";
const PROMPT: &str = "x-embergate-prompt";
const LANE: &str = "x-embergate-lane";
const TIMEOUT: &str = "x-embergate-timeout-ms";
const SPACE: &str = "x-embergate-space";
const PREPARED: &str = "x-embergate-prepared";
const CACHE: &str = "x-embergate-cache";
const NOTICE: &str = "x-embergate-notice";
/// The field of a body that says the purpose.
const INPUT_TYPE: &str = "input_type";

/// The headers that are read from requests.
#[cfg(test)]
pub(super) const READ: [&str; 5] = [PURPOSE, LANE, TIMEOUT, PREPARED, SPACE];

/// Bytes of a prompt that are told, at most: some clients refuse long headers.
const MAX_PROMPT: usize = 1024;

/// The request's headers of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Where the header says one.
    purpose: Option<Purpose>,
    pub(super) lane: Option<Lane>,
    pub(super) timeout: Duration,
    pub(super) prepared: bool,
    /// The only one whose vectors are wanted.
    pub(super) space: Option<Space>,
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
            None => None,
            Some("query") => Some(Purpose::Query),
            Some("document") => Some(Purpose::Document),
            Some("none") => Some(Purpose::None),
            Some(_) => {
                let message = "`x-embergate-purpose` is `query`, `document` or `none`";
                return Err(ApiError::invalid(PURPOSE, message));
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
        let space = match word(headers, SPACE).map(|word| Space::from_hex(&word)) {
            None => None,
            Some(Some(space)) => Some(space),
            Some(None) => {
                let message =
                    "`x-embergate-space` is 32 hexadecimal digits, as `/api/embergate/spaces/NAME` has them";
                return Err(ApiError::invalid(SPACE, message));
            }
        };
        Ok(Self { purpose, lane, timeout: timeout.min(times.longest), prepared, space })
    }

    /// What the texts are for: by the header, else `input_type`, else the model's
    /// name as it was asked for; documents where none of them says.
    ///
    /// # Errors
    /// Two of them say different things.
    pub(super) fn purpose(
        &self,
        input_type: Option<Purpose>,
        by_name: Option<Purpose>,
    ) -> Result<Purpose, ApiError> {
        let said = [(PURPOSE, self.purpose), (INPUT_TYPE, input_type), ("model", by_name)];
        let mut said = said.into_iter().filter_map(|(place, purpose)| Some((place, purpose?)));
        let Some((place, purpose)) = said.next() else { return Ok(Purpose::Document) };
        match said.find(|(_, other)| *other != purpose) {
            None => Ok(purpose),
            Some((other_place, other)) => Err(ApiError::invalid(
                other_place,
                format!(
                    "`{place}` says that the texts are for `{}`, and `{other_place}` that they are for `{}`: leave one out",
                    purpose.as_str(),
                    other.as_str()
                ),
            )),
        }
    }
}

/// The purpose that the field `input_type` says, in the words of several providers.
pub(super) fn input_type(value: &Value) -> Result<Option<Purpose>, ApiError> {
    let word = match value {
        Value::Null => return Ok(None),
        Value::String(word) => word.to_ascii_lowercase(),
        other => {
            let message = format!("`input_type` must be a string, and is {}", wire::kind(other));
            return Err(ApiError::invalid(INPUT_TYPE, message));
        }
    };
    match word.as_str() {
        "query" | "search_query" => Ok(Some(Purpose::Query)),
        "document" | "search_document" | "passage" => Ok(Some(Purpose::Document)),
        "none" => Ok(Some(Purpose::None)),
        _ => Err(ApiError::invalid(
            INPUT_TYPE,
            "`input_type` is `query` (or `search_query`), `document` (or `search_document`, `passage`) or `none`",
        )),
    }
}

/// A header in lower case; one that is no text is an empty word, which nothing accepts.
fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap_or("").trim().to_ascii_lowercase())
}

/// What an answer tells of its request, beside what came of its texts.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) purpose: Purpose,
    /// What was put before each text.
    pub(super) prompt: String,
    pub(super) notices: Notices,
}

/// Tells what became of a request: its purpose and prompt, `hits/texts`, and what is not as asked.
pub(super) fn tell(headers: &mut HeaderMap, told: Told, answer: &EmbedAnswer) {
    headers.insert(PURPOSE, HeaderValue::from_static(told.purpose.as_str()));
    if !told.prompt.is_empty() {
        insert(headers, PROMPT, &quoted(&told.prompt));
    }
    let cache = format!("{}/{}", answer.n_hits, answer.embeddings.len());
    insert(headers, CACHE, &cache);
    let mut notices = told.notices;
    notices.truncated(&answer.truncated);
    notices.cut_by_upstream(&answer.cut_by_upstream);
    for (detour, indexes) in &answer.detours {
        notices.detour(detour, indexes);
    }
    if let Some(line) = notices.into_line() {
        insert(headers, NOTICE, &line);
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A prompt as a JSON string in ASCII, so that spaces at its ends and line breaks
/// survive in a header; one that is too long ends in `…`.
fn quoted(prompt: &str) -> String {
    let end = prompt.floor_char_boundary(MAX_PROMPT);
    let shown = if end < prompt.len() { format!("{}…", &prompt[..end]) } else { prompt.to_owned() };
    let mut quoted = String::with_capacity(shown.len() + 2);
    for character in Value::String(shown).to_string().chars() {
        match character {
            ' '..='~' => quoted.push(character),
            _ => {
                let mut units = [0; 2];
                quoted.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { unasked: Duration::from_secs(60), longest: Duration::from_secs(600) };

    const DEFAULTS: Options =
        Options { purpose: None, lane: None, timeout: Duration::from_secs(60), prepared: false, space: None };

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
        check(&[(PURPOSE, "Query")], Ok(Options { purpose: Some(Purpose::Query), ..DEFAULTS }));
        check(&[(PURPOSE, "none")], Ok(Options { purpose: Some(Purpose::None), ..DEFAULTS }));
        check(&[(LANE, "bulk")], Ok(Options { lane: Some(Lane::Bulk), ..DEFAULTS }));
        check(&[(PREPARED, "true")], Ok(Options { prepared: true, ..DEFAULTS }));
        let space = "0123456789abcdef0123456789abcdef";
        check(&[(SPACE, space)], Ok(Options { space: Space::from_hex(space), ..DEFAULTS }));
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
        check(&[(SPACE, "0123")], Err(SPACE));
    }

    const QUERY: Option<Purpose> = Some(Purpose::Query);
    const DOCUMENT: Option<Purpose> = Some(Purpose::Document);
    const NONE: Option<Purpose> = Some(Purpose::None);

    /// By header, `input_type` and name; an error names the later of the two that differ.
    #[track_caller]
    fn check_purpose(said: [Option<Purpose>; 3], want: Result<Purpose, &str>) {
        let [purpose, input_type, by_name] = said;
        match (Options { purpose, ..DEFAULTS }.purpose(input_type, by_name), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(param)) => {
                assert!(format!("{got:?}").contains(&format!("param: Some({param:?})")), "{got:?}");
            }
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn a_purpose_may_be_said_anywhere_and_is_document_otherwise() {
        check_purpose([None, None, None], Ok(Purpose::Document));
        check_purpose([QUERY, None, None], Ok(Purpose::Query));
        check_purpose([None, NONE, None], Ok(Purpose::None));
        check_purpose([None, None, QUERY], Ok(Purpose::Query));
        check_purpose([QUERY, QUERY, QUERY], Ok(Purpose::Query));
    }

    #[test]
    fn two_purposes_that_differ_are_a_mistake() {
        check_purpose([QUERY, DOCUMENT, None], Err(INPUT_TYPE));
        check_purpose([NONE, None, QUERY], Err("model"));
        check_purpose([None, DOCUMENT, QUERY], Err("model"));
        check_purpose([QUERY, QUERY, DOCUMENT], Err("model"));
    }

    #[test]
    fn an_input_type_is_read_as_other_providers_spell_it() {
        let check = |value: Value, want: Option<Option<Purpose>>| {
            assert_eq!(input_type(&value).ok(), want, "{value}");
        };
        check(Value::Null, Some(None));
        for (word, purpose) in [
            ("query", QUERY),
            ("search_query", QUERY),
            ("Search_Document", DOCUMENT),
            ("document", DOCUMENT),
            ("passage", DOCUMENT),
            ("none", NONE),
        ] {
            check(word.into(), Some(purpose));
        }
        for wrong in [Value::from("classification"), Value::from(""), Value::from(1), Value::from(true)] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_prompt_is_told_so_that_nothing_of_it_is_lost() {
        assert_eq!(quoted("query: "), r#""query: ""#);
        assert_eq!(quoted("a \"b\"\nQuery:"), r#""a \"b\"\nQuery:""#);
        assert_eq!(quoted("soru — 🧪\u{7f}"), r#""soru \u2014 \ud83e\uddea\u007f""#);
        let long = quoted(&"ä".repeat(600));
        let read: String = serde_json::from_str(&long).unwrap();
        assert_eq!(read, format!("{}…", "ä".repeat(512)));
        HeaderValue::from_str(&long).unwrap();
    }
}
