//! Pages from a server on this machine: those that change, vanish, lead elsewhere, or never come.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use embergate::index::source::{Contents, Item, Origin, ReadError, Reader, Root, Sources};
use embergate::index::{Config, Event, IndexRequest, Indexer, Outcome};
use embergate::store::{Selection, SourceRecord};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::index_parts::{COLLECTION, Parts, Place, collection};

/// What is answered to a path: a status, headers and a body.
#[derive(Clone, Default)]
struct Page {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn page(content_type: &str, body: impl Into<Vec<u8>>) -> Page {
    Page { status: 200, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
}

fn leading_to(place: &str) -> Page {
    Page { status: 302, headers: vec![("location", place.to_owned())], body: Vec::new() }
}

struct Site {
    host: String,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    /// Each request's path, and the conditions that it came with.
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Site {
    async fn new(pages: &[(&str, Page)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let pages = pages.iter().map(|(path, page)| ((*path).to_owned(), page.clone())).collect();
        let pages: Arc<Mutex<BTreeMap<String, Page>>> = Arc::new(Mutex::new(pages));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&pages), Arc::clone(&asked)));
        Self { host, pages, asked, _serving: serving }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host)
    }

    fn config(&self) -> Config {
        Config { allowed_hosts: vec![self.host.parse().unwrap()], ..Config::default() }
    }

    fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    async fn read_with(
        &self,
        path: &str,
        config: &Config,
        before: Option<&Origin>,
    ) -> Result<Contents, ReadError> {
        let sources = Sources::new(vec![Root::Url { url: self.url(path) }], config).unwrap();
        let mut found = None;
        sources.walk(&mut |item| {
            if let Item::Document(document) = item {
                found = Some(document);
            }
            std::ops::ControlFlow::Continue(())
        });
        Reader::new(config, None).read(&found.unwrap(), before).await
    }

    async fn read(&self, path: &str) -> Result<Contents, ReadError> {
        self.read_with(path, &self.config(), None).await
    }

    async fn why_not(&self, path: &str) -> String {
        self.read(path).await.unwrap_err().to_string().replace(&self.host, "HOST")
    }
}

async fn serve(
    listener: TcpListener,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (pages, asked) = (Arc::clone(&pages), Arc::clone(&asked));
        let answer = service_fn(move |request: Request<Incoming>| {
            let page = answered(&request, &pages, &asked);
            async move {
                let Some(page) = page else { return std::future::pending().await };
                let mut response = Response::builder().status(page.status);
                for (name, value) in page.headers {
                    response = response.header(name, value);
                }
                Ok::<_, Infallible>(response.body(Full::new(Bytes::from(page.body))).unwrap())
            }
        });
        connections.spawn(async move {
            // A client that leaves is no concern of the server.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await,
            );
        });
    }
}

/// The page that is asked for; nothing for one that never comes.
fn answered(
    request: &Request<Incoming>,
    pages: &Mutex<BTreeMap<String, Page>>,
    asked: &Mutex<Vec<String>>,
) -> Option<Page> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    let condition = header("if-none-match").or_else(|| header("if-modified-since"));
    asked.lock().unwrap().push(format!("{path} {}", condition.as_deref().unwrap_or("always")));
    let page = pages.lock().unwrap().get(&path).cloned().unwrap_or(Page { status: 404, ..Page::default() });
    let validator = page.headers.iter().find(|(name, _)| ["etag", "last-modified"].contains(name));
    if condition.is_some() && condition == validator.map(|(_, value)| value.clone()) {
        return Some(Page { status: 304, ..Page::default() });
    }
    (page.status != 0).then_some(page)
}

#[tokio::test]
async fn a_page_is_what_its_server_says() {
    let site = Site::new(&[
        ("/a", page("text/html; charset=iso-8859-9", b"<p>\xFEehir".to_vec())),
        ("/b.md", page("text/plain", "# Title")),
    ])
    .await;
    let contents = site.read("/a").await.unwrap();
    assert_eq!((contents.found.media_type, contents.found.size), ("text/html", 8));
    let reader = Reader::new(&site.config(), None);
    let decoded = reader.decode(contents).unwrap();
    assert_eq!((decoded.text(), decoded.encoding()), ("<p>şehir", "windows-1254"));
    assert_eq!(site.read("/b.md").await.unwrap().found.media_type, "text/markdown");
}

#[tokio::test]
async fn a_page_that_did_not_change_is_not_sent_again() {
    let site = Site::new(&[]).await;
    for (name, value) in [("etag", "\"one\""), ("last-modified", "Mon, 02 Jan 2006 15:04:05 GMT")] {
        let mut tagged = page("text/plain", "kelp");
        tagged.headers.push((name, value.to_owned()));
        site.put("/a", tagged);
        let first = site.read("/a").await.unwrap();
        let kept = Origin::from_json(&first.found.origin.to_json()).unwrap();
        let second = site.read_with("/a", &site.config(), Some(&kept)).await;
        assert!(matches!(second, Err(ReadError::Unchanged)), "{second:?}");
        assert_eq!(site.asked.lock().unwrap().last().unwrap(), &format!("/a {value}"));
    }
    site.put("/a", page("text/plain", "other"));
    let kept =
        Origin::Url { media_type: "text/plain", etag: Some("\"one\"".to_owned()), last_modified: None };
    assert_eq!(&site.read_with("/a", &site.config(), Some(&kept)).await.unwrap().bytes[..], b"other");
}

#[tokio::test]
async fn a_page_that_is_gone_is_told_from_one_that_fails() {
    let site = Site::new(&[
        ("/old", Page { status: 410, ..Page::default() }),
        ("/ill", Page { status: 503, ..Page::default() }),
    ])
    .await;
    assert!(matches!(site.read("/none").await, Err(ReadError::Gone { status: 404 })));
    assert!(matches!(site.read("/old").await, Err(ReadError::Gone { status: 410 })));
    let error = site.read("/ill").await.unwrap_err();
    assert_eq!(error.to_string(), "its server answered 503 Service Unavailable");
    assert!(!error.is_no_text());
}

#[tokio::test]
async fn a_page_leads_on_to_allowed_hosts_only_and_not_for_ever() {
    let elsewhere = Site::new(&[("/", page("text/plain", "secret"))]).await;
    let site = Site::new(&[
        ("/a", leading_to("/b")),
        ("/b", page("text/plain", "there")),
        ("/away", leading_to(&elsewhere.url("/"))),
        ("/file", leading_to("file:///etc/passwd")),
        ("/loop", leading_to("/loop")),
    ])
    .await;
    let contents = site.read("/a").await.unwrap();
    assert_eq!((&contents.bytes[..], contents.found.source), (&b"there"[..], site.url("/a")));
    let away = site.why_not("/away").await;
    let host = &elsewhere.host;
    assert_eq!(
        away,
        format!("it leads to `{host}/`, which may not be fetched: add `{host}` to `index.allowed_hosts`")
    );
    assert!(elsewhere.asked.lock().unwrap().is_empty());
    assert_eq!(site.why_not("/file").await, "its server answered 302 Found");
    assert_eq!(site.why_not("/loop").await, "it leads on more than 5 times");
    assert_eq!(site.asked.lock().unwrap().iter().filter(|path| path.starts_with("/loop")).count(), 6);
}

#[tokio::test]
async fn a_page_is_bounded_in_size_and_time() {
    let site =
        Site::new(&[("/large", page("text/plain", "x".repeat(2_000))), ("/slow", Page::default())]).await;
    let config = Config {
        max_file: "1KiB".parse().unwrap(),
        fetch_timeout: Duration::from_millis(200),
        ..site.config()
    };
    let large = site.read_with("/large", &config, None).await.unwrap_err();
    assert!(matches!(large, ReadError::TooLarge { max: 1_024, .. }), "{large}");
    let slow = site.read_with("/slow", &config, None).await.unwrap_err();
    assert_eq!(slow.to_string(), "its server did not answer within the 200ms of `index.fetch_timeout`");
}

#[tokio::test]
async fn what_is_no_text_and_what_is_not_reached_are_told() {
    let site = Site::new(&[("/a.png", page("image/png", "x"))]).await;
    assert_eq!(site.why_not("/a.png").await, "its server calls it `image/png`, which is not text");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let nobody = Site { host, ..site };
    assert!(nobody.why_not("/").await.starts_with("cannot reach its server: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_follows_its_pages() {
    let (parts, place) = (Parts::new().await, Place::new().await);
    let site = Site::new(&[
        ("/a", page("text/html", "<title>Kelp</title><p>Kelp forests grow along cold coasts.")),
        ("/b", page("text/plain", "Bread rises slowly.")),
    ])
    .await;
    let mut indexer = parts.indexer(&place);
    indexer.config.allowed_hosts = site.config().allowed_hosts;
    let run = async || runs(&indexer, &site, &["/a", "/b"]).await;
    assert_eq!(run().await, ["1 embedded", "1 embedded"]);
    assert_eq!(run().await, ["Unchanged", "Unchanged"]);
    site.put("/a", Page { status: 500, ..Page::default() });
    site.put("/b", page("text/plain", "Bread rises slowly, and so does the tide."));
    assert_eq!(run().await, ["Failed(\"its server answered 500 Internal Server Error\")", "1 embedded"]);
    assert_eq!(place.count().await, 2);
    site.pages.lock().unwrap().clear();
    run().await;
    assert_eq!(place.count().await, 0);
}

/// What becomes of each page in a run.
async fn runs(indexer: &Indexer, site: &Site, paths: &[&str]) -> Vec<String> {
    let roots = paths.iter().map(|path| Root::Url { url: site.url(path) }).collect();
    let mut outcomes = Vec::new();
    let mut watcher = |event| {
        if let Event::Finished { outcome, .. } = event {
            outcomes.push(match outcome {
                Outcome::Indexed(indexed) => format!("{} embedded", indexed.n_embedded),
                other => format!("{other:?}"),
            });
        }
    };
    let request = IndexRequest { roots, collection: collection("static-embed-en-256"), limit: None };
    indexer.run(request, &mut watcher).await.unwrap();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_did_not_change_is_fetched_again_where_it_was_not_done_with() {
    let (parts, place) = (Parts::new().await, Place::new().await);
    let mut tagged = page("text/plain", "Kelp forests grow along cold coasts.");
    tagged.headers.push(("etag", "\"one\"".to_owned()));
    let site = Site::new(&[("/a", tagged)]).await;
    let mut indexer = parts.indexer(&place);
    indexer.config.allowed_hosts = site.config().allowed_hosts;
    assert_eq!(runs(&indexer, &site, &["/a"]).await, ["1 embedded"]);
    assert_eq!(runs(&indexer, &site, &["/a"]).await, ["Unchanged"]);
    assert_eq!(*site.asked.lock().unwrap(), ["/a always", "/a \"one\""]);
    // As a run leaves it that was stopped before its points were written.
    let generation = place.store.collection(COLLECTION).await.unwrap().unwrap().name;
    let record = place.state.source(&generation, &site.url("/a")).await.unwrap().unwrap();
    place.store.delete(&generation, Selection::Ids(record.points.clone())).await.unwrap();
    let unfinished = SourceRecord { pipeline: String::new(), ..record };
    place.state.record(&generation, vec![unfinished]).await.unwrap();
    assert_eq!(runs(&indexer, &site, &["/a"]).await, ["1 embedded"]);
    assert_eq!((place.count().await, site.asked.lock().unwrap()[2].as_str()), (1, "/a always"));
}
