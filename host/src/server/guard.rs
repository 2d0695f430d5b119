//! Keeps web pages out: only pages of this machine, or allowed ones, may ask.
//!
//! Two checks. `Host` must be a name that no stranger can own, or a page whose
//! name is made to point here could read answers as its own (DNS rebinding).
//! `Origin`, which browsers send, must be a page on this machine or an allowed one.

use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, HOST,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Response, StatusCode, Uri};

use super::Config;
use super::error::ApiError;
use super::route::Route;

/// Headers that a page may send; those under the prefixes below too.
const ALLOWED_HEADERS: &str =
    "authorization, content-type, x-api-key, accept, user-agent, x-requested-with, x-request-id, openai-beta";
const ALLOWED_PREFIXES: [&str; 2] = ["x-stainless-", "x-embergate-"];

/// Headers that a page may read.
pub(super) const EXPOSED_HEADERS: &str = "x-request-id, x-embergate-purpose, x-embergate-prompt, \
                                          x-embergate-cache, x-embergate-notice, retry-after, \
                                          retry-after-ms, x-should-retry, server-timing, \
                                          x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
                                          x-ratelimit-reset-requests, x-ratelimit-limit-texts, \
                                          x-ratelimit-remaining-texts, x-ratelimit-reset-texts";

/// Bytes of headers that a preflight may ask for.
const MAX_ASKED_HEADERS: usize = 2048;

/// Checks `Host` and `Origin`; returns the origin that the answer is for, where there is one.
///
/// # Errors
/// Names the host or origin, and the key that allows it.
pub(super) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    config: &Config,
) -> Result<Option<HeaderValue>, ApiError> {
    let asked = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).map(|host| host.to_str().unwrap_or("?")),
    };
    if let Some(host) = asked
        && !is_allowed_host(host, &config.allowed_hosts)
    {
        return Err(ApiError::forbidden(format!(
            "`{host}` is not a name of this gateway: ask for it by address, or add the name to `server.allowed_hosts`"
        )));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or("?");
    if is_allowed_origin(text, asked, &config.allowed_origins) {
        return Ok(Some(origin.clone()));
    }
    Err(ApiError::forbidden(format!(
        "pages of `{text}` may not use this gateway: add the origin to `server.allowed_origins` to allow it"
    )))
}

/// Lets the page of `origin` read the answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// The answer to a browser that asks whether a page may ask.
pub(super) fn preflight(route: Route, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static(route.methods().allow);
    headers.insert(ALLOW, methods.clone());
    if asked.contains_key(ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(asked));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

fn allowed_headers(asked: &HeaderMap) -> HeaderValue {
    let wanted =
        asked.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|wanted| wanted.to_str().ok()).unwrap_or("");
    let mut allowed = ALLOWED_HEADERS.to_owned();
    for name in wanted.split(',').map(|name| name.trim().to_ascii_lowercase()) {
        let known = ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if known && allowed.len() + name.len() <= MAX_ASKED_HEADERS {
            allowed.push_str(", ");
            allowed.push_str(&name);
        }
    }
    HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(ALLOWED_HEADERS))
}

/// Addresses, names without a dot and those under `.internal` cannot be
/// registered by a stranger.
fn is_allowed_host(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host);
    let ends = |suffix: &str| {
        name.len()
            .checked_sub(suffix.len())
            .is_some_and(|at| name.as_bytes()[at..].eq_ignore_ascii_case(suffix.as_bytes()))
    };
    is_address(name)
        || is_single_label(name)
        || ends(".localhost")
        || ends(".internal")
        || allowed.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(name))
}

/// Whether `name` is such as `embergate` in a network of containers.
fn is_single_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_allowed_origin(origin: &str, host: Option<&str>, allowed: &[String]) -> bool {
    if allowed.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some(site) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else {
        return false;
    };
    // The gateway's own page, as far as a browser can tell.
    host.is_some_and(|host| host.eq_ignore_ascii_case(site)) || is_loopback(without_port(site))
}

fn is_loopback(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || bracketed(&name).is_some_and(|address| address.is_loopback())
}

fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || bracketed(name).is_some()
}

fn bracketed(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// `[::1]:80`, `localhost:80`, `localhost` → the part before the port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_request(host: Option<&str>, origin: Option<&str>, config: &Config, allowed: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            value.map(|value| headers.insert(name, value.parse().unwrap()));
        }
        assert_eq!(check(&Uri::from_static("/v1/models"), &headers, config).is_ok(), allowed);
    }

    #[track_caller]
    fn check_host(host: &str, allowed: bool) {
        check_request(Some(host), None, &Config::default(), allowed);
    }

    #[track_caller]
    fn check_origin(origin: &str, allowed: bool) {
        check_request(Some("127.0.0.1:8642"), Some(origin), &Config::default(), allowed);
    }

    #[test]
    fn addresses_and_names_that_nobody_can_register_are_ours() {
        for host in ["127.0.0.1:8642", "localhost:8642", "[::1]:8642", "192.168.1.5", "embergate:80"] {
            check_host(host, true);
        }
        check_host("host.docker.internal:8642", true);
        check_host("app.LOCALHOST", true);
        check_request(None, None, &Config::default(), true);
    }

    #[test]
    fn a_name_that_a_stranger_may_own_is_refused() {
        for host in ["evil.example:8642", "127.0.0.1.nip.example", "localhost.example", "", "ü.example"] {
            check_host(host, false);
        }
    }

    #[test]
    fn pages_of_this_machine_may_ask() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"] {
            check_origin(origin, true);
        }
        check_origin("http://127.0.0.1:8642", true);
    }

    #[test]
    fn pages_from_elsewhere_may_not() {
        for origin in
            ["https://evil.example", "null", "http://localhost.evil.example", "file://", "http://10.0.0.1"]
        {
            check_origin(origin, false);
        }
    }

    #[test]
    fn configuration_opens_the_door() {
        let open = Config {
            allowed_hosts: vec!["embeddings.example.org".into()],
            allowed_origins: vec!["https://notes.example.org".into()],
            ..Config::default()
        };
        let page = Some("https://notes.example.org");
        check_request(Some("Embeddings.example.org:443"), page, &open, true);
        check_request(Some("embeddings.example.org"), Some("http://notes.example.org"), &open, false);
    }

    #[test]
    fn a_preflight_names_the_headers_of_real_clients_and_no_others() {
        let mut asked = HeaderMap::new();
        asked.insert(ORIGIN, "http://localhost:3000".parse().unwrap());
        asked.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,X-Stainless-Lang, x-evil".parse().unwrap(),
        );
        let response = preflight(Route::OpenaiEmbeddings, &asked);
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let allowed = response.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert!(allowed.starts_with("authorization, content-type,"), "{allowed}");
        assert!(allowed.ends_with(", x-stainless-lang"), "{allowed}");
    }
}
