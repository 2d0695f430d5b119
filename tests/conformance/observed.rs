//! What is seen of a request from outside: `server-timing`, ids, spans.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;

use embergate_test_support::ollama::{Fault, OllamaSim};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::gateway::{Answer, EMBEDDED, Gateway};
use crate::scenes::{DIMENSIONS, Scene};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn body(text: &str) -> String {
    format!(r#"{{"model":"test-embed","input":"{text}"}}"#)
}

/// The parts of `server-timing` in their order, each with its milliseconds.
#[track_caller]
fn timing(answer: &Answer) -> Vec<(String, f64)> {
    let header = answer.header("server-timing").expect("a header `server-timing`");
    let part = |part: &str| {
        let (name, duration) = part.split_once(";dur=").expect("a name and a duration");
        let decimals = duration.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert!(decimals <= 3, "{header}");
        (name.to_owned(), duration.parse().expect("a number"))
    };
    header.split(", ").map(part).collect()
}

#[track_caller]
fn check_parts(answer: &Answer, want: &[&str]) {
    let timing = timing(answer);
    let names: Vec<_> = timing.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, want, "{timing:?}");
    let total = timing[0].1;
    let sum: f64 = timing[1..].iter().map(|(_, millis)| millis).sum();
    // Each part is cut to a microsecond.
    assert!(sum <= total + 0.006, "{timing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_timing_has_the_parts_that_happened() {
    let scene = Scene::usual().await;
    for path in ["/v1/embeddings", "/api/embed"] {
        let fresh = scene.gateway.post(path, &body(path)).await;
        check_parts(&fresh, &["total", "read", "queue", "upstream", "encode"]);
        let known = scene.gateway.post(path, &body(path)).await;
        check_parts(&known, &["total", "read", "encode"]);
    }
    let refused = scene.gateway.post("/v1/embeddings", "{").await;
    check_parts(&refused, &["total", "read"]);
    check_parts(&scene.gateway.ask("GET", "/healthz", &[], Vec::new()).await, &["total"]);
    scene.gateway.stop().await;
}

/// A gateway in front of `sim`, which takes one call at a time.
async fn one_at_a_time(sim: &OllamaSim, model: &str) -> Gateway {
    let url = sim.url();
    let upstream =
        format!("[[upstream]]\nname = \"sim\"\nkind = \"ollama\"\nurl = {url:?}\nmax_in_flight = 1\n");
    Gateway::start(&format!("{upstream}[[model]]\nname = {model:?}\nupstreams = [\"sim\"]\n")).await
}

/// Waits until `n` texts of `model`, which no other test may use, are in the queue.
async fn until_queued(gateway: &Gateway, model: &str, n: usize) {
    let line = format!("embergate_queued_texts{{model={model:?},way=\"whole\",lane=\"interactive\"}} {n}\n");
    while !gateway.ask_at(gateway.admin, "GET", "/metrics", &[], Vec::new()).await.text.contains(&line) {
        tokio::task::yield_now().await;
    }
}

/// Asks for `texts`, one each: the first is at the upstream before the others
/// are asked for, and those are all in the queue before it is answered.
async fn ask_while_busy(sim: &OllamaSim, gateway: &Gateway, model: &str, texts: [&str; 3]) -> [Answer; 3] {
    let bodies = texts.map(|text| format!(r#"{{"model":"{model}","input":"{text}"}}"#));
    let [first, second, third] = &bodies;
    let held = sim.hold();
    let others = async {
        held.until_waiting(1).await;
        let let_go = async {
            until_queued(gateway, model, 2).await;
            held.release();
        };
        let (second, third) = (gateway.post("/v1/embeddings", second), gateway.post("/v1/embeddings", third));
        tokio::join!(second, third, let_go)
    };
    let (first, (second, third, ())) = tokio::join!(gateway.post("/v1/embeddings", first), others);
    [first, second, third]
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_wait_for_a_slot_are_told_of_queue_and_upstream() {
    let sim = OllamaSim::start(&[("queued", 8)]).await;
    let gateway = one_at_a_time(&sim, "queued").await;
    for answer in ask_while_busy(&sim, &gateway, "queued", ["busy", "first", "second"]).await {
        check_parts(&answer, &["total", "read", "queue", "upstream", "encode"]);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id() {
    let gateway = Gateway::start(EMBEDDED).await;
    for (method, path, header, status) in [
        ("GET", "/nowhere", ("x-request-id", "mine-1"), 404),
        ("GET", "/v1/embeddings", ("x-request-id", "mine-1"), 405),
        ("GET", "/v1/models", ("host", "evil.example"), 403),
        ("POST", "/api/embed", ("content-encoding", "gzip"), 415),
        ("OPTIONS", "/api/embed", ("x-request-id", "mine-1"), 204),
    ] {
        let answer = gateway.ask(method, path, &[header], b"{}".to_vec()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let id = answer.header("x-request-id").expect("an id");
        assert!(id == "mine-1" || id.len() == 36, "{id}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_gives_up_is_counted() {
    let scene = Scene::usual().await;
    scene.gateway.post("/v1/embeddings", &body("before")).await;
    let held = scene.hold();
    let mut stream = TcpStream::connect(scene.gateway.address).await.unwrap();
    let text = body("given up");
    let request = format!(
        "POST /api/embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    held.until_waiting(1).await;
    drop(stream);
    // The call is given up with its request.
    held.until_waiting(0).await;
    let admin = scene.gateway.admin;
    let metrics = scene.gateway.ask_at(admin, "GET", "/metrics", &[], Vec::new()).await.text;
    let line = r#"embergate_http_requests_total{route="/api/embed",status="none"}"#;
    assert!(metrics.contains(line), "{metrics}");
    drop(held);
    scene.gateway.stop().await;
}

thread_local! {
    /// Spans of a thread that watches them, in the order in which they were made.
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// Notes the spans of each thread that watches them. One for the process, because
/// whether a span is wanted is remembered for the whole process.
struct Watcher;

/// The spans of this thread, on which a test with one thread does all.
struct Spans;

#[derive(Clone, Debug)]
struct Seen {
    id: u64,
    name: &'static str,
    parent: Option<u64>,
    follows: Vec<u64>,
    fields: BTreeMap<String, String>,
}

struct Fields<'f>(&'f mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Spans {
    /// Watches them from now on.
    fn watch() -> Self {
        static INSTALLED: Once = Once::new();
        SEEN.set(Some(Vec::new()));
        INSTALLED.call_once(|| {
            let watched = tracing_subscriber::registry().with(Watcher);
            tracing::subscriber::set_global_default(watched).unwrap();
        });
        Self
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        let all = SEEN.with_borrow(|seen| seen.clone().unwrap_or_default());
        all.into_iter().filter(|seen| seen.name == name).collect()
    }
}

/// Changes what is known of the span `id`, the latest one if several had it.
fn change(id: &Id, change: impl FnOnce(&mut Seen)) {
    SEEN.with_borrow_mut(|seen| {
        let mut spans = seen.iter_mut().flatten().rev();
        if let Some(seen) = spans.find(|seen| seen.id == id.into_u64()) {
            change(seen);
        }
    });
}

impl<S: tracing::Subscriber + for<'s> LookupSpan<'s>> tracing_subscriber::Layer<S> for Watcher {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let parent = context.span(id).and_then(|span| Some(span.parent()?.id().into_u64()));
        let (id, name, follows) = (id.into_u64(), attributes.metadata().name(), Vec::new());
        SEEN.with_borrow_mut(|seen| {
            seen.as_mut().map(|seen| seen.push(Seen { id, name, parent, follows, fields }))
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        change(id, |seen| values.record(&mut Fields(&mut seen.fields)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        change(id, |seen| seen.follows.push(follows.into_u64()));
    }
}

#[track_caller]
fn check_fields(seen: &Seen, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(seen.fields.get(*name).map(String::as_str), Some(*value), "{name} of {seen:#?}");
    }
}

#[tokio::test]
async fn a_request_is_a_span_and_its_call_a_child() {
    let spans = Spans::watch();
    let scene = Scene::usual().await;
    let headers = [("traceparent", PARENT), ("user-agent", "tests/1"), ("x-request-id", "mine-1")];
    let asked = r#"{"model":"test-embed:latest","input":["kelp","bread"],"encoding_format":"base64"}"#;
    let answer = scene.gateway.ask("POST", "/v1/embeddings", &headers, asked.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let [request] = &spans.named("request")[..] else { panic!("not one request") };
    let n_tokens = answer.json["usage"]["prompt_tokens"].to_string();
    check_fields(
        request,
        &[
            ("otel.name", "POST /v1/embeddings"),
            ("otel.kind", "server"),
            ("request_id", "mine-1"),
            ("trace_id", TRACE),
            ("http.request.method", "POST"),
            ("http.route", "/v1/embeddings"),
            ("http.response.status_code", "200"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "tests/1"),
            ("gen_ai.operation.name", "embeddings"),
            ("gen_ai.request.model", "test-embed"),
            ("gen_ai.response.model", "test-embed"),
            ("gen_ai.request.encoding_formats", "base64"),
            ("gen_ai.embeddings.dimension.count", &DIMENSIONS.to_string()),
            ("gen_ai.usage.input_tokens", &n_tokens),
            ("embergate.purpose", "document"),
            ("embergate.lane", "interactive"),
            ("embergate.texts", "2"),
            ("embergate.cache_hits", "0"),
        ],
    );
    for absent in ["client.address", "otel.status_code", "error.type"] {
        assert_eq!(request.fields.get(absent), None);
    }
    let url = scene.upstream_url();
    let [call] = &spans.named("embeddings")[..] else { panic!("not one call") };
    assert_eq!(call.parent, Some(request.id));
    check_fields(
        call,
        &[
            ("otel.name", "embeddings test-embed"),
            ("otel.kind", "client"),
            ("gen_ai.operation.name", "embeddings"),
            ("gen_ai.provider.name", "ollama"),
            ("gen_ai.request.model", "test-embed"),
            ("gen_ai.embeddings.dimension.count", &DIMENSIONS.to_string()),
            ("server.address", "127.0.0.1"),
            ("server.port", url.rsplit(':').next().unwrap()),
            ("embergate.upstream", "sim"),
            ("embergate.texts", "2"),
        ],
    );
    assert!(!format!("{request:?} {call:?}").contains("kelp"));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn spans_of_what_failed_name_the_error() {
    let spans = Spans::watch();
    let scene = Scene::usual().await;
    scene.fail_next(Fault::Short);
    let answer = scene.gateway.post("/v1/embeddings", &body("kelp")).await;
    assert_eq!(answer.status, 502, "{}", answer.text);
    check_fields(&spans.named("request")[0], &[("otel.status_code", "ERROR"), ("error.type", "502")]);
    check_fields(&spans.named("embeddings")[0], &[("otel.status_code", "ERROR"), ("error.type", "count")]);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_call_for_several_requests_is_the_child_of_one_and_linked_to_the_others() {
    let spans = Spans::watch();
    let sim = OllamaSim::start(&[("shared", 8)]).await;
    let gateway = one_at_a_time(&sim, "shared").await;
    ask_while_busy(&sim, &gateway, "shared", ["busy", "first", "second"]).await;
    let calls = spans.named("embeddings");
    let [_, shared] = &calls[..] else { panic!("not two calls: {calls:#?}") };
    check_fields(shared, &[("embergate.texts", "2")]);
    assert_eq!((shared.parent.is_some(), shared.follows.len()), (true, 1));
    assert_ne!(shared.parent, Some(shared.follows[0]));
    gateway.stop().await;
}

#[tokio::test]
async fn clients_are_named_by_their_address_only_where_that_is_asked_for() {
    let spans = Spans::watch();
    let gateway = Gateway::start(&format!("[server]\nlog_client_address = true\n{EMBEDDED}")).await;
    gateway.post("/v1/embeddings", &body("kelp")).await;
    check_fields(&spans.named("request")[0], &[("client.address", "127.0.0.1")]);
    gateway.stop().await;
}
