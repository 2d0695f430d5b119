//! Refuses heads that could be read in two ways, or are out of bounds.
//!
//! A proxy in front that reads a head in another way than the gateway could be
//! made to take one request for two (request smuggling). So nothing is guessed:
//! what is ambiguous is refused, and its connection ends.

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, StatusCode, Uri, Version};

use super::Config;
use super::error::ApiError;
use super::exchange::Exchange;

/// Checks what hyper lets through.
///
/// # Errors
/// Says what is ambiguous, or which key bounds it.
pub(super) fn check(exchange: &Exchange, config: &Config) -> Result<(), ApiError> {
    check_size(exchange, config)?;
    check_host(&exchange.uri, &exchange.headers, exchange.version)?;
    check_framing(&exchange.headers)?;
    if exchange.method == Method::CONNECT {
        return Err(ApiError::malformed("this is no proxy: CONNECT leads nowhere"));
    }
    Ok(())
}

fn check_size(exchange: &Exchange, config: &Config) -> Result<(), ApiError> {
    let uri = &exchange.uri;
    let length = uri.path().len() + uri.query().map_or(0, |query| 1 + query.len());
    if config.max_uri.as_u64() < length as u64 {
        let message = format!("the path is longer than {} (`server.max_uri`)", config.max_uri);
        return Err(ApiError::refused(StatusCode::URI_TOO_LONG, message));
    }
    // hyper counts them over HTTP/1.1 only.
    if config.max_headers < exchange.headers.len() {
        let message = format!("there are more than {} headers (`server.max_headers`)", config.max_headers);
        return Err(ApiError::refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    }
    Ok(())
}

/// One host, and the same one in every place that names it (RFC 9112, 3.2).
fn check_host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ApiError::malformed("there are several `host` headers: send one"));
    }
    match (uri.authority(), host) {
        (None, None) if version == Version::HTTP_11 => {
            Err(ApiError::malformed("there is no `host` header: one is required"))
        }
        (Some(authority), Some(host))
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err(ApiError::malformed("the request line and the `host` header name different hosts"))
        }
        _ => Ok(()),
    }
}

/// `chunked` alone, and once: hyper looks at the end of a list only.
fn check_framing(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let plain = match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(encoding), None) => encoding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    match plain {
        true => Ok(()),
        false => Err(ApiError::malformed("`transfer-encoding` is `chunked`, or is not there")),
    }
}

/// Whether the connection has to end with this answer. hyper drops a
/// `content-length` beside a `transfer-encoding`, so one may have been there
/// (RFC 9112, 6.1).
pub(super) fn ends_connection(exchange: &Exchange, is_refused: bool) -> bool {
    let over_http_1 = exchange.version < Version::HTTP_2;
    over_http_1 && (is_refused || exchange.headers.contains_key(TRANSFER_ENCODING))
}

/// Tells hyper and the client that the connection ends.
pub(super) fn end_connection(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::Request;

    use super::*;
    use crate::server::exchange::Peer;

    const OK: Option<u16> = None;

    #[track_caller]
    fn check_uri(uri: &str, version: Version, headers: &[(&str, &str)], refused: Option<u16>) {
        let mut request = Request::get(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), over_tls: false };
        let (exchange, ()) =
            Exchange::begin(request.body(()).unwrap(), peer, &Config::default(), Arc::default());
        let got = check(&exchange, &Config::default()).err().map(|error| error.status.as_u16());
        assert_eq!(got, refused, "{uri} {headers:?}");
    }

    #[track_caller]
    fn check_headers(headers: &[(&str, &str)], refused: Option<u16>) {
        check_uri("/v1/models", Version::HTTP_11, headers, refused);
    }

    #[test]
    fn a_request_has_one_host() {
        check_headers(&[("host", "a")], OK);
        check_headers(&[], Some(400));
        check_headers(&[("host", "a"), ("host", "b")], Some(400));
        check_headers(&[("host", "a"), ("host", "a")], Some(400));
        check_uri("/", Version::HTTP_10, &[], OK);
    }

    #[test]
    fn a_line_with_a_host_agrees_with_the_header() {
        check_uri("http://a:1/", Version::HTTP_11, &[("host", "A:1")], OK);
        check_uri("http://a:1/", Version::HTTP_11, &[("host", "b:1")], Some(400));
        check_uri("http://a:1/", Version::HTTP_2, &[("host", "b:1")], Some(400));
        check_uri("http://a:1/", Version::HTTP_2, &[], OK);
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let host = ("host", "a");
        check_headers(&[host, ("transfer-encoding", "Chunked")], OK);
        for encoding in ["gzip, chunked", "chunked, chunked", "identity", "", "\"chunked\""] {
            check_headers(&[host, ("transfer-encoding", encoding)], Some(400));
        }
        check_headers(&[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Some(400));
    }

    #[test]
    fn paths_and_headers_have_bounds() {
        let host = [("host", "a")];
        check_uri(&format!("/{}", "x".repeat(8191)), Version::HTTP_11, &host, OK);
        check_uri(&format!("/{}", "x".repeat(8192)), Version::HTTP_11, &host, Some(414));
        check_uri(&format!("/?{}", "x".repeat(8192)), Version::HTTP_11, &host, Some(414));
        check_headers(&[("host", "a"); 1], OK);
        let many: Vec<_> = std::iter::repeat_n(("x", "y"), 100).chain(host).collect();
        check_headers(&many[1..], OK);
        check_headers(&many, Some(431));
    }
}
