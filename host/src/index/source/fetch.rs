//! Pages from hosts that the configuration allows, a bounded number at once, and none twice that
//! did not change.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use super::hosts::HostPattern;
use super::read::{Contents, ReadError};
use super::{Found, Origin, media};

/// How long it may take to reach a server.
const CONNECT: Duration = Duration::from_secs(10);

pub(super) struct Fetcher {
    client: OnceLock<Result<Client, String>>,
    hosts: Arc<[HostPattern]>,
    permits: Semaphore,
    timeout: Duration,
    max_redirects: usize,
    max_file: u64,
}

impl Fetcher {
    pub(super) fn new(config: &super::super::Config) -> Self {
        Self {
            client: OnceLock::new(),
            hosts: config.allowed_hosts.clone().into(),
            permits: Semaphore::new(config.max_fetches.clamp(1, Semaphore::MAX_PERMITS)),
            timeout: config.fetch_timeout,
            max_redirects: config.max_redirects,
            max_file: config.max_file.as_u64(),
        }
    }

    /// Fetches a page, if it is not as it was `before`.
    pub(super) async fn fetch(&self, found: &Found, before: Option<&Origin>) -> Result<Contents, ReadError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.map_err(|error| ReadError::Fetch(error.to_string()))?;
        let client = self.client.get_or_init(|| self.client()).as_ref();
        let client = client.map_err(|error| ReadError::Fetch(error.clone()))?;
        let url = Url::parse(&found.source).map_err(|error| ReadError::Fetch(error.to_string()))?;
        if !self.hosts.iter().any(|pattern| pattern.matches(&url)) {
            let host = HostPattern::of(&url);
            return Err(ReadError::Fetch(format!(
                "it may not be fetched: add `{host}` to `index.allowed_hosts`"
            )));
        }
        let mut request = client.get(url);
        if let Some(Origin::Url { etag, last_modified, .. }) = before {
            let conditions = [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, last_modified)];
            for (name, value) in
                conditions.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
            {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Err(ReadError::Unchanged),
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(ReadError::Gone { status: status.as_u16() })
            }
            status if status.is_success() => self.contents(found, response).await,
            status => Err(ReadError::Fetch(format!("its server answered {status}"))),
        }
    }

    async fn contents(&self, found: &Found, mut response: Response) -> Result<Contents, ReadError> {
        let header = |name: HeaderName| text_of(response.headers(), &name);
        let (content_type, etag, last_modified) = (header(CONTENT_TYPE), header(ETAG), header(LAST_MODIFIED));
        let media_type = media_type(content_type.as_deref(), found.media_type, response.url())?;
        let too_large = |size| ReadError::TooLarge { size, max: self.max_file };
        let mut bytes = Vec::new();
        if let Some(size) = response.content_length().filter(|size| self.max_file < *size) {
            return Err(too_large(size));
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            bytes.extend_from_slice(&chunk);
            if self.max_file < bytes.len() as u64 {
                return Err(too_large(bytes.len() as u64));
            }
        }
        let hash = *blake3::hash(&bytes).as_bytes();
        let found = Found {
            source: found.source.clone(),
            size: bytes.len() as u64,
            modified: i64::MIN,
            media_type,
            origin: Origin::Url { media_type, etag, last_modified },
        };
        Ok(Contents { found, bytes: bytes.into(), hash, charset: content_type.as_deref().and_then(charset) })
    }

    fn client(&self) -> Result<Client, String> {
        crate::upstream::ensure_crypto_provider();
        let (hosts, max_redirects) = (Arc::clone(&self.hosts), self.max_redirects);
        let follow = move |attempt: Attempt<'_>| {
            if max_redirects < attempt.previous().len() {
                return attempt.error(format!("it leads on more than {max_redirects} times"));
            }
            if hosts.iter().any(|pattern| pattern.matches(attempt.url())) {
                return attempt.follow();
            }
            let host = HostPattern::of(attempt.url());
            let url = attempt.url().clone();
            attempt.error(format!(
                "it leads to `{url}`, which may not be fetched: add `{host}` to `index.allowed_hosts`"
            ))
        };
        Client::builder()
            .no_proxy()
            .redirect(Policy::custom(follow))
            .connect_timeout(self.timeout.min(CONNECT))
            .timeout(self.timeout)
            .user_agent(concat!("embergate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))
    }

    fn failed(&self, error: &reqwest::Error) -> ReadError {
        let mut innermost: &dyn Error = error;
        while let Some(cause) = innermost.source() {
            innermost = cause;
        }
        ReadError::Fetch(if error.is_timeout() {
            let within = humantime::format_duration(self.timeout);
            format!("its server did not answer within the {within} of `index.fetch_timeout`")
        } else if error.is_redirect() {
            innermost.to_string()
        } else if error.is_connect() {
            format!("cannot reach its server: {innermost}")
        } else {
            format!("the connection to its server broke: {innermost}")
        })
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What a page is: as its server says, and where that says nothing, as its name does.
fn media_type(said: Option<&str>, by_name: &'static str, url: &Url) -> Result<&'static str, ReadError> {
    let essence = said.map(|said| said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let by_name = match media::of_path(Path::new(url.path())) {
        media::PLAIN => by_name,
        of_last => of_last,
    };
    match essence.as_deref() {
        None | Some("" | "application/octet-stream" | "text/plain") => Ok(by_name),
        Some(essence) => match media::known(essence) {
            Some(known) => Ok(known),
            None if essence.starts_with("text/") => Ok(media::PLAIN),
            None => Err(ReadError::NoText { media_type: essence.to_owned() }),
        },
    }
}

/// The parameter of a content type.
fn charset(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: Option<&str>, path: &str, want: Result<&str, &str>) {
        let url = Url::parse(&format!("https://docs.example.org{path}")).unwrap();
        let got = media_type(said, media::PLAIN, &url).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn a_server_says_what_a_page_is() {
        check(Some("text/html; charset=utf-8"), "/a.md", Ok("text/html"));
        check(Some("application/x-yaml"), "/a", Ok("application/yaml"));
        check(Some("text/troff"), "/a", Ok("text/plain"));
        check(Some("image/png"), "/a.md", Err("its server calls it `image/png`, which is not text"));
    }

    #[test]
    fn where_it_says_little_the_name_does() {
        check(None, "/a.md", Ok("text/markdown"));
        check(Some("text/plain"), "/a.rs", Ok("text/x-rust"));
        check(Some("application/octet-stream"), "/a", Ok("text/plain"));
    }

    #[test]
    fn an_encoding_is_a_parameter_in_quotes_or_in_none() {
        assert_eq!(charset("text/html; q=1; Charset=\"iso-8859-9\"").as_deref(), Some("iso-8859-9"));
        assert_eq!(charset("text/html;charset=gbk").as_deref(), Some("gbk"));
        assert_eq!(charset("text/html; charset="), None);
    }
}
