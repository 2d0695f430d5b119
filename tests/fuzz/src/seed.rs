//! How bytes mean a request: lines of a letter and a text, an empty line, the body.
//!
//! The first line's letter is the route, and its text is added to the path; each
//! further line is a header. `e`, an empty line and `{"model":…}` is an ordinary
//! request for embeddings.

use std::fmt;

/// A request that may be anything.
#[derive(Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

const ROUTES: &[(u8, &str, &str)] = &[
    (b'e', "POST", "/v1/embeddings"),
    (b'E', "POST", "/api/embed"),
    (b'O', "POST", "/api/embeddings"),
    (b's', "POST", "/api/show"),
    (b'm', "GET", "/v1/models/"),
    (b'l', "GET", "/v1/models"),
    (b'p', "POST", "/api/pull"),
    (b'g', "GET", "/"),
    (b'd', "DELETE", "/v1/embeddings"),
];

const HEADERS: &[(u8, &str)] = &[
    (b'p', "x-embergate-purpose"),
    (b'l', "x-embergate-lane"),
    (b't', "x-embergate-timeout-ms"),
    (b'r', "x-embergate-prepared"),
    (b'i', "x-request-id"),
    (b'a', "authorization"),
    (b'e', "content-encoding"),
    (b'c', "content-type"),
    (b'h', "host"),
    (b'o', "origin"),
    (b'k', "x-api-key"),
    (b'T', "traceparent"),
    (b'u', "user-agent"),
    (b'f', "transfer-encoding"),
];

impl fmt::Debug for Asked {
    /// On a few lines, where a list of bytes would take hundreds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, headers, body } = self;
        write!(f, "{method} {path}")?;
        for (name, value) in headers {
            write!(f, "\n{name}: {}", value.escape_ascii())?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(body))
    }
}

impl Asked {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn sends(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name == header)
    }

    /// Nothing where the path is no text. A letter that stands for nothing is taken for one that does.
    pub fn from_seed(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
        let mut lines = head.split(|byte| *byte == b'\n');
        let (letter, rest) = lines.next()?.split_first()?;
        let known = ROUTES.iter().find(|(known, ..)| known == letter);
        let (_, method, path) = known.unwrap_or(&ROUTES[usize::from(*letter) % ROUTES.len()]);
        let mut asked = Self::new(method, &format!("{path}{}", std::str::from_utf8(rest).ok()?));
        for (letter, value) in lines.filter_map(|line| line.split_first()) {
            let known = HEADERS.iter().find(|(known, _)| known == letter);
            let (_, name) = known.unwrap_or(&HEADERS[usize::from(*letter) % HEADERS.len()]);
            asked.headers.push(((*name).to_owned(), value.to_vec()));
        }
        Some(Self { body: body.to_vec(), ..asked })
    }
}
