//! Which hosts may be asked for pages.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `docs.example.org`, `*.example.org`, `wiki.example.org:8443`; over HTTPS, if it does not begin
/// with `http://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    is_plain: bool,
    /// Whether any name below `host` is meant, and not itself.
    below: bool,
    host: String,
    /// The usual one where none is named.
    port: Option<u16>,
}

impl HostPattern {
    /// The pattern for the host of `url` and no other.
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        Self { is_plain: url.scheme() == "http", below: false, host, port: url.port() }
    }

    pub fn matches(&self, url: &Url) -> bool {
        let scheme = if self.is_plain { "http" } else { "https" };
        let Some(host) = url.host_str().filter(|_| url.scheme() == scheme && url.port() == self.port) else {
            return false;
        };
        if self.below {
            let name = host.strip_suffix(self.host.as_str()).and_then(|name| name.strip_suffix('.'));
            return name.is_some_and(|name| !name.is_empty());
        }
        host == self.host
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no host: write it as `docs.example.org`, `*.example.org` or `localhost:8443`"
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let below = rest.starts_with("*.");
        let rest = rest.strip_prefix("*.").unwrap_or(rest);
        // Read as what it is compared with: names in lower case, the usual port left out.
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| wrong())?;
        let is_bare = url.path() == "/" && !rest.contains(['/', '?', '#', '@', '*']) && url.has_host();
        if !["http", "https"].contains(&scheme) || !is_bare {
            return Err(wrong());
        }
        Ok(Self { below, ..Self::of(&url) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_plain, below, host, port } = self;
        let (scheme, star) = (if *is_plain { "http://" } else { "" }, if *below { "*." } else { "" });
        write!(f, "{scheme}{star}{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, url: &str, want: bool) {
        let pattern: HostPattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&Url::parse(url).unwrap()), want, "{pattern} {url}");
    }

    #[test]
    fn a_host_is_itself_over_https() {
        check("docs.example.org", "https://docs.example.org/a?b", true);
        check("Docs.Example.org", "https://docs.example.ORG/", true);
        check("docs.example.org", "http://docs.example.org/", false);
        check("docs.example.org", "https://docs.example.org.evil.net/", false);
        check("docs.example.org", "https://www.docs.example.org/", false);
        check("docs.example.org", "https://docs.example.org:8443/", false);
    }

    #[test]
    fn a_star_is_for_all_names_below() {
        check("*.example.org", "https://a.b.example.org/", true);
        check("*.example.org", "https://example.org/", false);
        check("*.example.org", "https://evilexample.org/", false);
    }

    #[test]
    fn a_port_and_plain_http_are_allowed_where_they_are_named() {
        check("docs.example.org:8443", "https://docs.example.org:8443/", true);
        check("docs.example.org:443", "https://docs.example.org/", true);
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080/a", true);
        check("http://127.0.0.1:8080", "https://127.0.0.1:8080/a", false);
        check("http://[::1]:8080", "http://[::1]:8080/a", true);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "*", "*.*.example.org", "example.org/docs", "ftp://example.org", "a b", "user@example.org"]
        {
            let error = text.parse::<HostPattern>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is no host")), "{error}");
        }
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read() {
        for text in ["docs.example.org", "*.example.org", "http://127.0.0.1:8080", "wiki.example.org:8443"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }
}
