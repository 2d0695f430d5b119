//! The keys that a request carries.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

const X_API_KEY: &str = "x-api-key";

/// What stands in `authorization: Bearer KEY` and in `x-api-key: KEY`. Clients
/// that can't leave the first one out send the right key in the second.
pub(super) fn keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| after_bearer(value.as_bytes()));
    let own = headers.get(X_API_KEY).map(|value| value.as_bytes().trim_ascii());
    [bearer, own].into_iter().flatten().filter(|key| !key.is_empty())
}

fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.trim_ascii().split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Keeps keys out of whatever prints headers.
pub(crate) fn hide(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name == AUTHORIZATION || name == X_API_KEY {
            value.set_sensitive(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: &[(&'static str, &'static str)], want: &[&str]) {
        let headers: HeaderMap =
            sent.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let want: Vec<_> = want.iter().map(|key| key.as_bytes()).collect();
        assert_eq!(keys(&headers).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_bearer_token_is_a_key_however_its_scheme_is_written() {
        check(&[("authorization", "Bearer emb_a")], &["emb_a"]);
        check(&[("authorization", "bearer emb_a")], &["emb_a"]);
        check(&[("authorization", "BEARER   emb_a ")], &["emb_a"]);
    }

    #[test]
    fn other_schemes_and_nothing_are_no_key() {
        for value in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "", "emb_a", "Bearerxemb_a"] {
            check(&[("authorization", value)], &[]);
        }
        check(&[("x-api-key", "")], &[]);
        check(&[], &[]);
    }

    #[test]
    fn a_header_of_its_own_is_a_key_too() {
        check(&[("x-api-key", "emb_a")], &["emb_a"]);
        check(&[("authorization", "Bearer ollama"), ("x-api-key", "emb_a")], &["ollama", "emb_a"]);
        check(&[("authorization", "Basic x"), ("x-api-key", "emb_a")], &["emb_a"]);
    }

    #[test]
    fn headers_that_are_printed_show_no_key() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", "Bearer emb_a".parse().unwrap());
        headers.append("authorization", "Bearer emb_b".parse().unwrap());
        headers.append("x-api-key", "emb_c".parse().unwrap());
        hide(&mut headers);
        assert!(!format!("{headers:?}").contains("emb_"));
    }
}
