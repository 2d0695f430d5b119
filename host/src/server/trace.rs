//! A request as a span, in the words of OpenTelemetry's conventions for HTTP
//! servers and generative AI, and the trace that the client says it is part of.
//!
//! A span that nobody watches costs a look at a flag. What clients choose is
//! bounded here or not taken: no path but the route, no header but the user agent.

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::USER_AGENT;
use hyper::{HeaderMap, Method, Response, Version};
use tracing::Span;
use tracing::field::Empty;

use super::exchange::Exchange;
use super::observe::Record;
use super::route::Route;
use crate::model::ModelName;

const TRACEPARENT: &str = "traceparent";

/// Characters of a client's user agent that are kept.
const MAX_USER_AGENT: usize = 128;

/// A method that the standard does not know is whatever a client likes to write.
const OTHER_METHOD: &str = "_OTHER";

/// The span of `exchange`, as far as it is known at its begin.
pub(super) fn span(exchange: &Exchange) -> Span {
    tracing::info_span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        request_id = exchange.id,
        trace_id = exchange.trace_id.as_deref(),
        http.request.method = method(&exchange.method),
        http.route = Empty,
        http.response.status_code = Empty,
        http.request.body.size = Empty,
        http.response.body.size = Empty,
        url.scheme = scheme(exchange),
        network.protocol.name = "http",
        network.protocol.version = version(exchange.version),
        client.address = exchange.shown_client().map(tracing::field::display),
        user_agent.original = user_agent(&exchange.headers),
        gen_ai.operation.name = Empty,
        gen_ai.request.model = Empty,
        gen_ai.request.encoding_formats = Empty,
        gen_ai.response.model = Empty,
        gen_ai.embeddings.dimension.count = Empty,
        gen_ai.usage.input_tokens = Empty,
        embergate.key = Empty,
        embergate.purpose = Empty,
        embergate.lane = Empty,
        embergate.texts = Empty,
        embergate.cache_hits = Empty,
        "error.type" = Empty,
    )
}

/// Puts what became of `exchange` on its span.
pub(super) fn end(span: &Span, exchange: &Exchange, response: &Response<Full<Bytes>>) {
    if span.is_disabled() {
        return;
    }
    let (record, status) = (&exchange.record, response.status());
    let route = record.route.map(Route::label);
    let method = match method(&exchange.method) {
        OTHER_METHOD => "HTTP",
        known => known,
    };
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    span.record("otel.name", name);
    span.record("http.route", route);
    span.record("http.response.status_code", status.as_u16());
    span.record("http.request.body.size", record.bytes_in);
    span.record("http.response.body.size", response.body().size_hint().exact());
    span.record("embergate.key", record.key.as_deref());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    if let Some(model) = &record.model {
        end_embeddings(span, record, model);
    }
}

fn end_embeddings(span: &Span, record: &Record, model: &ModelName) {
    span.record("gen_ai.operation.name", "embeddings");
    span.record("gen_ai.request.model", model.as_str());
    span.record("gen_ai.request.encoding_formats", record.format);
    span.record("embergate.purpose", record.purpose);
    span.record("embergate.lane", record.lane);
    span.record("embergate.texts", record.n_texts);
    let Some(embedded) = record.embedded else { return };
    span.record("gen_ai.response.model", model.as_str());
    span.record("gen_ai.embeddings.dimension.count", embedded.dimensions);
    span.record("gen_ai.usage.input_tokens", embedded.n_tokens);
    span.record("embergate.cache_hits", embedded.n_hits);
}

/// The method's name, out of a fixed list.
pub(super) fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER_METHOD,
    }
}

/// HTTP/1.1 does not say it, and HTTP/2 says what the client believes.
fn scheme(exchange: &Exchange) -> &'static str {
    if exchange.uri.scheme_str() == Some("https") { "https" } else { "http" }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// The start of what the client calls itself; printable ASCII or nothing.
fn user_agent(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(&name[..name.len().min(MAX_USER_AGENT)])
}

/// The trace that the client's span is in, as 32 hexadecimal digits: by the W3C's
/// `traceparent`, to the letter, or not at all.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<Box<str>> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (all.next(), all.next()) else { return None };
    let parent = parent.to_str().ok()?;
    let (version, rest) = hex(parent, 2)?;
    let (trace_id, rest) = hex(rest.strip_prefix('-')?, 32)?;
    let (parent_id, rest) = hex(rest.strip_prefix('-')?, 16)?;
    let (_flags, rest) = hex(rest.strip_prefix('-')?, 2)?;
    // Versions to come may append to it, after another dash.
    let is_known_end = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    let is_valid = is_known_end && version != "ff" && !is_zero(trace_id) && !is_zero(parent_id);
    is_valid.then(|| trace_id.into())
}

/// The `length` hexadecimal digits, all lower case, that `text` begins with, and the rest.
fn hex(text: &str, length: usize) -> Option<(&str, &str)> {
    let (digits, rest) = text.split_at_checked(length)?;
    digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some((digits, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[track_caller]
    fn check_trace(parents: &[&str], want: Option<&str>) {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        assert_eq!(trace_id(&headers).as_deref(), want, "{parents:?}");
    }

    #[test]
    fn a_trace_parent_to_the_letter_names_its_trace() {
        check_trace(&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], Some(TRACE));
        check_trace(&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"], Some(TRACE));
    }

    #[test]
    fn a_later_version_may_say_more() {
        check_trace(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], Some(TRACE));
        check_trace(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"], Some(TRACE));
        check_trace(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what"], None);
        check_trace(&["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], None);
    }

    #[test]
    fn anything_else_names_none() {
        check_trace(&[], None);
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            check_trace(&[wrong], None);
        }
    }

    #[test]
    fn two_trace_parents_are_none() {
        let one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        check_trace(&[one, one], None);
    }

    #[test]
    fn a_user_agent_is_bounded_and_printable() {
        let mut headers = HeaderMap::new();
        assert_eq!(user_agent(&headers), None);
        headers.insert(USER_AGENT, "x".repeat(4000).parse().unwrap());
        assert_eq!(user_agent(&headers).map(str::len), Some(MAX_USER_AGENT));
        headers.insert(USER_AGENT, hyper::header::HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
        assert_eq!(user_agent(&headers), None);
    }

    #[test]
    fn a_method_of_somebodys_own_has_no_name() {
        assert_eq!(method(&Method::POST), "POST");
        assert_eq!(method(&"GET-EVERYTHING".parse().unwrap()), "_OTHER");
    }
}
