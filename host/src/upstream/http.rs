//! What the HTTP protocols share: a client with bounds, bounded answers, and the
//! meaning of what servers say when they fail.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Config, TextFault, UpstreamError, vectors};

/// Another gateway behind this one must put no second prompt before a text.
pub(super) const PURPOSE: &str = "x-embergate-purpose";
/// How long a question that costs the upstream nothing may take.
const QUICK: Duration = Duration::from_secs(5);
/// Bytes of an answer without vectors, and of what surrounds vectors, at most.
const PLAIN_BYTES: usize = 1024 * 1024;
/// Bytes of one vector in JSON, at most: 16,384 numbers of 32 characters.
const VECTOR_BYTES: usize = 16_384 * 32;
/// A list of models may be as long as this many vectors, 4 MiB: several thousand models.
pub(super) const LIST_VECTORS: usize = 8;
/// Characters of a server's message that are passed on.
const MESSAGE_CHARS: usize = 300;

/// One server that is asked over HTTP.
pub(super) struct Peer {
    pub(super) name: String,
    /// Without user and password.
    pub(super) url: String,
    base: Url,
    client: Client,
    pub(super) timeout: Duration,
}

impl Peer {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let base = base_url(config)?;
        let mut shown = base.clone();
        // Neither fails for an `http` URL, and then there is nothing to hide.
        shown.set_username("").and_then(|()| shown.set_password(None)).unwrap_or(());
        ensure_crypto_provider();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeout.min(QUICK))
            .timeout(config.timeout)
            .default_headers(authorization(config)?)
            .user_agent(concat!("embergate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("upstream `{}`: no HTTP client: {error}", config.name))?;
        Ok(Self {
            name: config.name.clone(),
            url: shown.as_str().trim_end_matches('/').to_owned(),
            base,
            client,
            timeout: config.timeout,
        })
    }

    fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    pub(super) fn post<T: serde::Serialize + ?Sized>(&self, path: &str, body: &T) -> Question {
        let request = self.client.post(self.join(path)).header(PURPOSE, "none").json(body);
        Question { request, within: self.timeout }
    }

    /// The same with `headers`, that of the purpose among them.
    pub(super) fn post_with<T: serde::Serialize + ?Sized>(
        &self,
        path: &str,
        headers: HeaderMap,
        body: &T,
    ) -> Question {
        Question {
            request: self.client.post(self.join(path)).headers(headers).json(body),
            within: self.timeout,
        }
    }

    /// The same, answered from memory.
    pub(super) fn post_quick<T: serde::Serialize + ?Sized>(&self, path: &str, body: &T) -> Question {
        let within = self.timeout.min(QUICK);
        Question { request: self.client.post(self.join(path)).json(body).timeout(within), within }
    }

    /// A question that is answered from memory.
    pub(super) fn get(&self, path: &str) -> Question {
        let within = self.timeout.min(QUICK);
        Question { request: self.client.get(self.join(path)).timeout(within), within }
    }

    /// A question that may take as long as a call.
    pub(super) fn get_slow(&self, path: &str) -> Question {
        Question { request: self.client.get(self.join(path)), within: self.timeout }
    }

    /// Sends `question` and reads its answer, of which `n_vectors` may be a part.
    pub(super) async fn ask(&self, question: Question, n_vectors: usize) -> Result<Answer, UpstreamError> {
        let Question { request, within } = question;
        let mut response = request.send().await.map_err(|error| self.transport(error, within))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.nonsense(redirect(&response)));
        }
        let told = Told::by(response.headers());
        let max = PLAIN_BYTES + n_vectors.saturating_mul(VECTOR_BYTES);
        let mut body = Vec::with_capacity(response.content_length().unwrap_or(0).min(max as u64) as usize);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(error, within))? {
            if max < body.len() + chunk.len() {
                return Err(self.nonsense(format!("it is longer than {max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, told, body })
    }

    /// Reads `answer` as JSON.
    pub(super) fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, UpstreamError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let reason = error.to_string();
            // Some servers print what is no number as such, others as null: then a text may be why.
            let no_number = memchr::memmem::find(&answer.body, b"NaN").is_some()
                || reason.starts_with("invalid type: null, expected f32");
            match no_number {
                true => self.fault(format!("a vector has NaN in it ({reason})")),
                false => self.nonsense(format!("{reason}, in `{}`", start_of(&answer.body))),
            }
        })
    }

    /// The same for an answer with vectors, which are the values of `key` in order. `put` puts
    /// them where the answer now has empty ones, and returns nothing if it has other vectors.
    pub(super) fn parse_with_vectors<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        key: &[u8],
        put: impl FnOnce(T, Vec<Vec<f32>>) -> Option<T>,
    ) -> Result<T, UpstreamError> {
        let quick = || {
            let taken = vectors::take(&answer.body, key)?;
            put(serde_json::from_slice(&taken.rest).ok()?, taken.vectors)
        };
        quick().map_or_else(|| self.parse(answer), Ok)
    }

    fn transport(&self, error: reqwest::Error, within: Duration) -> UpstreamError {
        let upstream = self.name.clone();
        if error.is_connect() {
            let source = innermost(&error).to_string().into();
            return UpstreamError::Connect { upstream, url: self.url.clone(), source };
        }
        if error.is_timeout() {
            return UpstreamError::Timeout { upstream, within };
        }
        let mut message = error.without_url().to_string();
        message.insert_str(0, "the connection broke: ");
        UpstreamError::Fault { upstream, message }
    }

    pub(super) fn nonsense(&self, reason: String) -> UpstreamError {
        UpstreamError::Nonsense { upstream: self.name.clone(), reason }
    }

    fn fault(&self, message: String) -> UpstreamError {
        UpstreamError::Fault { upstream: self.name.clone(), message }
    }

    /// What an answer that is no success means. Judged by its message, because
    /// Ollama reports crashes of its own as 400.
    pub(super) fn failure(&self, model: &str, answer: &Answer) -> UpstreamError {
        let upstream = self.name.clone();
        let model = model.to_owned();
        let message = message_of(&answer.body);
        match class_of(answer.status, &message) {
            Class::NoModel => UpstreamError::NoModel { upstream, model },
            Class::NotEmbedding => UpstreamError::NotEmbedding { upstream, model },
            Class::Busy => UpstreamError::Busy { upstream },
            Class::Fault => UpstreamError::Fault { upstream, message },
            Class::Refused => UpstreamError::Refused { upstream, message },
            Class::NoSuchPath => self.nonsense(format!(
                "it knows no such address ({}): look at `url` and `kind` of its [[upstream]] table",
                answer.status
            )),
        }
    }
}

/// A request, and how long its answer may take.
pub(super) struct Question {
    request: RequestBuilder,
    within: Duration,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) told: Told,
    pub(super) body: Vec<u8>,
}

/// What the headers of an answer say about asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) retry_after: Option<Duration>,
    /// The same would fail again.
    pub(super) is_final: bool,
}

impl Told {
    fn by(headers: &HeaderMap) -> Self {
        let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| word(name).and_then(|value| value.trim().parse().ok());
        // A date is not read: what comes from a clock elsewhere may lie in any time.
        let seconds = number(RETRY_AFTER.as_str()).map(Duration::from_secs);
        Self {
            retry_after: number("retry-after-ms").map(Duration::from_millis).or(seconds),
            is_final: word("x-should-retry").is_some_and(|value| value.eq_ignore_ascii_case("false")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    NoModel,
    NotEmbedding,
    Busy,
    Fault,
    Refused,
    NoSuchPath,
}

fn class_of(status: StatusCode, message: &str) -> Class {
    let says = |part: &str| message.contains(part);
    if says("does not support embeddings") || status == StatusCode::NOT_IMPLEMENTED {
        return Class::NotEmbedding;
    }
    if says("server busy") || matches!(status.as_u16(), 429 | 503) {
        return Class::Busy;
    }
    if text_fault(message).is_some() {
        return Class::Refused;
    }
    if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
        let names_a_model = says("model") && (says("not found") || says("not exist") || says("no model"));
        return if names_a_model { Class::NoModel } else { Class::NoSuchPath };
    }
    let crashed =
        ["do embedding request", "EOF", "connection refused", "connection reset", "unexpected server status"];
    if status.is_server_error()
        || status == StatusCode::FAILED_DEPENDENCY
        || crashed.iter().any(|part| says(part))
    {
        return Class::Fault;
    }
    Class::Refused
}

/// What a message says of a single text, if it does.
pub(super) fn text_fault(message: &str) -> Option<TextFault> {
    const TOO_LONG: [&str; 6] = [
        "input length exceeds",
        "exceeds maximum context length",
        "maximum context length is",
        "is too large to process",
        "must have less than",
        // Another Embergate's words, as are the last ones below.
        "tokens, more than the",
    ];
    const UNEMBEDDABLE: [&str; 3] = ["NaN", "cannot be empty", "was rejected by plugin"];
    if TOO_LONG.iter().any(|part| message.contains(part)) {
        return Some(TextFault::TooLong);
    }
    if message.contains("no token of it is known") {
        return Some(TextFault::NoKnownToken);
    }
    UNEMBEDDABLE.iter().any(|part| message.contains(part)).then(|| TextFault::Refused(message.to_owned()))
}

/// The error message in a body, as Ollama, OpenAI and text-embeddings-inference
/// write it; else the start of the body.
pub(super) fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Option<Error>,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Error {
        Plain(String),
        Object { message: String },
    }
    let message = serde_json::from_slice::<Body>(body).ok().and_then(|body| match body.error {
        Some(Error::Object { message } | Error::Plain(message)) if body.message.is_none() => Some(message),
        _ => body.message,
    });
    start_of(message.as_deref().map_or(body, str::as_bytes))
}

/// The first characters of a body on one line.
fn start_of(body: &[u8]) -> String {
    let head = &body[..body.len().min(4 * MESSAGE_CHARS)];
    let text: String = String::from_utf8_lossy(head)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(MESSAGE_CHARS)
        .collect();
    match text.trim() {
        "" => "an empty body".to_owned(),
        text => text.to_owned(),
    }
}

/// What went wrong, without the layers that only say that something did.
fn innermost<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

fn redirect(response: &Response) -> String {
    let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
    format!("it redirects to `{to}`: write the address that answers into `url`")
}

fn base_url(config: &Config) -> Result<Url, String> {
    let name = &config.name;
    let Some(url) = &config.url else {
        return Err(format!("upstream `{name}` has no `url`, such as \"http://127.0.0.1:11434\""));
    };
    let parsed =
        Url::parse(url).map_err(|error| format!("upstream `{name}`: `url` is no URL: `{url}` ({error})"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(format!("upstream `{name}`: `url` must begin with http:// or https://, not `{url}`"));
    }
    Ok(parsed)
}

fn authorization(config: &Config) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let Some(path) = &config.api_key_file else {
        return Ok(headers);
    };
    let told =
        |reason: String| format!("upstream `{}`: `api_key_file` {}: {reason}", config.name, path.display());
    let key = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
        .map_err(|_| told("the key has characters that no header can carry".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// A TLS client panics where the process has no provider of cryptography.
/// TLS works from here on, in whatever order the parts begin.
pub(crate) fn ensure_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, want: Class) {
        let message = message_of(body.as_bytes());
        assert_eq!(class_of(StatusCode::from_u16(status).unwrap(), &message), want, "{message}");
    }

    #[tokio::test]
    async fn a_failed_connection_has_one_cause() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let config: Config =
            toml::from_str(&format!("name = \"gone\"\nkind = \"ollama\"\nurl = \"{url}\"")).unwrap();
        let peer = Peer::new(&config).unwrap();
        let Err(error) = peer.ask(peer.get("/"), 0).await else { panic!("somebody answers at {url}") };
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.to_string().contains("refused") && cause.source().is_none(), "{cause}");
    }

    #[test]
    fn a_missing_model_is_told_from_a_missing_path() {
        check(404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, Class::NoModel);
        check(
            404,
            r#"{"error":{"message":"The model `x` does not exist or you do not have access to it."}}"#,
            Class::NoModel,
        );
        check(
            404,
            r#"{"error":{"message":"there is no model `x`: GET /v1/models lists those that are served"}}"#,
            Class::NoModel,
        );
        check(404, "404 page not found", Class::NoSuchPath);
        check(405, "<html>nginx</html>", Class::NoSuchPath);
    }

    #[test]
    fn a_model_that_does_not_embed_is_named() {
        check(501, r#"{"error":"this model does not support embeddings"}"#, Class::NotEmbedding);
        check(
            500,
            r#"{"error":"This server does not support embeddings. Start it with `--embeddings`"}"#,
            Class::NotEmbedding,
        );
    }

    #[test]
    fn a_crash_behind_400_is_a_fault() {
        check(
            400,
            r#"{"error":"do embedding request: Post \"http://127.0.0.1:4242/v1/embeddings\": EOF"}"#,
            Class::Fault,
        );
        check(424, r#"{"message":"backend gone","code":424,"type":"backend"}"#, Class::Fault);
        check(502, "<html>Bad Gateway</html>", Class::Fault);
    }

    #[test]
    fn a_busy_server_is_no_fault() {
        check(
            503,
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            Class::Busy,
        );
        check(429, "{}", Class::Busy);
    }

    #[test]
    fn what_is_wrong_with_a_text_is_recognised() {
        check(400, r#"{"error":"embedding contains NaN or Inf values"}"#, Class::Refused);
        check(500, r#"{"error":"json: unsupported value: NaN"}"#, Class::Refused);
        check(500, r#"{"error":{"message":"input (9000 tokens) is too large to process."}}"#, Class::Refused);
        assert_eq!(text_fault("the input length exceeds the context length"), Some(TextFault::TooLong));
        assert_eq!(text_fault("invalid model name"), None);
        let long = "text 0 has 9000 tokens, more than the 8192 that `m` takes";
        assert_eq!(text_fault(long), Some(TextFault::TooLong));
        assert!(matches!(text_fault("text 1 was rejected by plugin `p`: spam"), Some(TextFault::Refused(_))));
        let unknown = "text 3 cannot be embedded: no token of it is known to the model";
        assert_eq!(text_fault(unknown), Some(TextFault::NoKnownToken));
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(message_of(b""), "an empty body");
        assert_eq!(message_of(b"<html>\n<b>no</b>"), "<html> <b>no</b>");
        assert_eq!(message_of("ä".repeat(5_000).as_bytes()).chars().count(), MESSAGE_CHARS);
    }
}
