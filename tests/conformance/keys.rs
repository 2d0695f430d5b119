//! API keys over HTTP: who is let in, how far, how often, and what they are told.

use embergate::server::KeyHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Answer, EMBEDDED, Gateway};
use crate::scenes::Scene;

const APIS: [&str; 2] = ["/v1/embeddings", "/api/embed"];

/// A `[[key]]` table with more lines. The key itself is `secret-NAME`.
pub(crate) fn table(name: &str, lines: &str) -> String {
    let hash = KeyHash::of(secret(name).as_bytes()).to_hex();
    format!("[[key]]\nname = \"{name}\"\nsha256 = \"{hash}\"\n{lines}\n")
}

fn secret(name: &str) -> String {
    format!("secret-{name}")
}

/// A gateway with a key for each right, and one for two.
async fn gateway() -> Gateway {
    let mut tables = table("embed", "") + &table("both", "rights = [\"search\", \"index\"]");
    for right in ["search", "index", "admin"] {
        tables += &table(right, &format!("rights = [\"{right}\"]"));
    }
    Gateway::start(&format!("{tables}{EMBEDDED}")).await
}

/// Asks with the key `name`, and more headers.
async fn ask(gateway: &Gateway, name: &str, path: &str, headers: &[(&str, &str)], n_texts: usize) -> Answer {
    let bearer = format!("Bearer {}", secret(name));
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    let body = serde_json::json!({ "model": "test-embed", "input": vec!["kelp"; n_texts] });
    gateway.ask("POST", path, &headers, body.to_string().into()).await
}

/// Reads on the admin listener, with the key `name` or none.
async fn read(gateway: &Gateway, name: Option<&str>, path: &str) -> Answer {
    let bearer = name.map(|name| format!("Bearer {}", secret(name)));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    gateway.ask_at(gateway.admin, "GET", path, &headers, Vec::new()).await
}

#[track_caller]
fn check(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.text);
    for word in words {
        assert!(answer.text.contains(word), "`{word}` is not in {}", answer.text);
    }
}

#[track_caller]
fn check_headers(answer: &Answer, want: &[(&str, Option<&str>)]) {
    for (name, value) in want {
        assert_eq!(answer.header(name), *value, "{name} of {:?}", answer.headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_embeds_what_its_rights_allow_over_both_apis() {
    let gateway = gateway().await;
    let query = ("x-embergate-purpose", "query");
    let bulk = ("x-embergate-lane", "bulk");
    let interactive = ("x-embergate-lane", "interactive");
    let prepared = ("x-embergate-prepared", "true");
    for (headers, allowed) in [
        (&[][..], ["embed", "index", "both"].as_slice()),
        (&[query], &["embed", "search", "both"]),
        (&[interactive], &["embed", "index", "both"]),
        (&[bulk], &["index", "both"]),
        (&[prepared], &["index", "both"]),
        (&[bulk, prepared], &["index", "both"]),
        (&[query, bulk], &["both"]),
    ] {
        for name in ["embed", "search", "index", "both", "admin"] {
            let status = if allowed.contains(&name) { 200 } else { 403 };
            for path in APIS {
                let answer = ask(&gateway, name, path, headers, 1).await;
                assert_eq!(answer.status, status, "{name} at {path} with {headers:?}: {}", answer.text);
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_in_the_shape_of_the_api() {
    let gateway = gateway().await;
    let bulk = [("x-embergate-lane", "bulk")];
    let words = ["the key `embed` lacks the right `index`, which `x-embergate-lane: bulk` needs"];
    let answer = ask(&gateway, "embed", "/v1/embeddings", &bulk, 1).await;
    check(&answer, 403, &words);
    assert_eq!(answer.json["error"]["code"], "insufficient_rights");
    assert_eq!(answer.json["error"]["type"], "invalid_request_error");
    let answer = ask(&gateway, "embed", "/api/embed", &bulk, 1).await;
    check(&answer, 403, &words);
    assert!(answer.json["error"].is_string());
    for (headers, word) in
        [(vec![], "no API key was sent"), (vec![("x-api-key", "guess-7")], "the API key is")]
    {
        let answer = gateway.ask("POST", "/api/embed", &headers, b"{}".to_vec()).await;
        check(&answer, 401, &[word]);
        assert!(answer.json["error"].is_string() && !answer.text.contains("guess"), "{}", answer.text);
        check_headers(&answer, &[("www-authenticate", Some("Bearer"))]);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_then_key_then_size_decide_about_the_lane() {
    let tables = table("plain", "rights = [\"embed\", \"index\"]")
        + &table("slow", "rights = [\"embed\", \"index\"]\nlane = \"bulk\"")
        + &table("fast", "rights = [\"embed\", \"index\"]\nlane = \"interactive\"")
        + &table("boss", "rights = [\"admin\"]");
    let batcher = "[batcher]\nbulk_above = 1\n";
    // Metrics are of the process: no other test may have this model.
    let embedded = EMBEDDED.replace("test-embed", "lane-embed");
    let gateway = Gateway::start(&format!("{batcher}{tables}{embedded}")).await;
    let ask = async |name: &str, path: &str, headers: &[(&str, &str)], n_texts: usize| {
        let key = secret(name);
        let headers = [&[("x-api-key", key.as_str())], headers].concat();
        // New ones each time: what is known already goes through no lane.
        let texts: Vec<_> = (0..n_texts).map(|at| format!("kelp {name} {headers:?} {at}")).collect();
        let body = serde_json::json!({ "model": "lane-embed", "input": texts });
        gateway.ask("POST", path, &headers, body.to_string().into()).await
    };
    let n_bulk = async || {
        let metrics = read(&gateway, Some("boss"), "/metrics").await;
        let lanes = metrics.text.lines().filter(|line| {
            line.starts_with("embergate_batch_wait_seconds_count{")
                && ["model=\"lane-embed\"", "lane=\"bulk\""].iter().all(|label| line.contains(label))
        });
        lanes.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum::<u64>()
    };
    let bulk = [("x-embergate-lane", "bulk")];
    let interactive = [("x-embergate-lane", "interactive")];
    for (name, headers, n_texts, is_bulk) in [
        ("plain", &[][..], 1, false),
        ("plain", &[], 2, true),
        ("plain", &bulk, 1, true),
        ("plain", &interactive, 2, false),
        ("slow", &[], 1, true),
        ("slow", &bulk, 1, true),
        ("fast", &[], 2, false),
        ("fast", &bulk, 1, true),
    ] {
        let before = n_bulk().await;
        check(&ask(name, APIS[0], headers, n_texts).await, 200, &[]);
        assert_eq!(before < n_bulk().await, is_bulk, "{n_texts} of {name} with {headers:?}");
    }
    for path in APIS {
        let answer = ask("slow", path, &interactive, 1).await;
        check(&answer, 403, &["the key `slow` is kept to the bulk lane", "leave the header out"]);
    }
    let keys = read(&gateway, Some("boss"), "/admin/keys").await;
    let lanes: Vec<_> = (0..3).map(|at| keys.json["keys"][at]["lane"].clone()).collect();
    assert_eq!(lanes, [serde_json::Value::Null, "bulk".into(), "interactive".into()]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_read_wherever_clients_put_it() {
    let gateway = gateway().await;
    let own = secret("search");
    let (bearer, small) = (format!("Bearer {own}"), format!("bearer {own}"));
    for (headers, status) in [
        (&[("authorization", bearer.as_str())][..], 200),
        (&[("authorization", &small)], 200),
        (&[("x-api-key", &own)], 200),
        (&[("authorization", "Bearer ollama"), ("x-api-key", &own)], 200),
        (&[("authorization", &own)], 401),
        (&[("authorization", "Bearer secret-search2")], 401),
        (&[("api-key", &own)], 401),
    ] {
        let answer = gateway.ask("GET", "/v1/models", headers, Vec::new()).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_preflights_are_open_and_paths_and_methods_come_before_keys() {
    let gateway = gateway().await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("OPTIONS", "/v1/embeddings", 204),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/embeddings", 405),
        ("GET", "/v1/models", 401),
        ("GET", "/v1/models/test-embed", 401),
    ] {
        let answer = gateway.ask(method, path, &[], Vec::new()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    let page = [("origin", "http://localhost:3000"), ("access-control-request-headers", "x-api-key")];
    let allowed = gateway.ask("OPTIONS", "/v1/embeddings", &page, Vec::new()).await;
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("x-api-key"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /api/embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 401");
    drop(stream);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_much_and_is_refused_lives_to_read_why() {
    let gateway = gateway().await;
    let body = vec![b' '; 8 << 20];
    for (path, host, status) in [
        ("/api/embed", "localhost", "401"),
        ("/api/nothing", "localhost", "404"),
        ("/v1/models", "localhost", "405"),
        ("/api/embed", "evil.example", "403"),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_told_to_come_back() {
    let limited = table("app", "requests_per_minute = 2") + &table("other", "");
    let gateway = Gateway::start(&format!("{limited}{EMBEDDED}")).await;
    let first = ask(&gateway, "app", "/v1/embeddings", &[], 1).await;
    check(&first, 200, &[]);
    check_headers(
        &first,
        &[
            ("x-ratelimit-limit-requests", Some("2")),
            ("x-ratelimit-remaining-requests", Some("1")),
            ("x-ratelimit-reset-requests", Some("30s")),
            ("x-ratelimit-limit-texts", None),
        ],
    );
    // What is answered with an error is a request too.
    check(&ask(&gateway, "app", "/v1/embeddings", &[], 0).await, 400, &[]);
    for path in APIS {
        let refused = ask(&gateway, "app", path, &[], 1).await;
        check(&refused, 429, &["the key `app` may send 2 requests a minute"]);
        check_headers(
            &refused,
            &[
                ("x-should-retry", Some("true")),
                ("retry-after", Some("30")),
                ("x-ratelimit-remaining-requests", Some("0")),
                ("x-ratelimit-reset-requests", Some("1m0s")),
            ],
        );
        let millis: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
        assert!((20_000..=30_000).contains(&millis), "{millis}");
        let error = &refused.json["error"];
        assert!(error.is_string() == (path == "/api/embed"), "{}", refused.text);
        assert!(error.is_string() || error["code"] == "rate_limit_exceeded", "{}", refused.text);
    }
    let other = ask(&gateway, "other", "/v1/embeddings", &[], 1).await;
    check(&other, 200, &[]);
    check_headers(&other, &[("x-ratelimit-limit-requests", None)]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_over_the_limit_reach_no_upstream_and_are_not_charged() {
    let mut scene = Scene::with(&table("app", "texts_per_minute = 10")).await;
    let texts =
        async |scene: &Scene, n_texts| ask(&scene.gateway, "app", "/v1/embeddings", &[], n_texts).await;
    let first = texts(&scene, 8).await;
    check(&first, 200, &[]);
    check_headers(
        &first,
        &[
            ("x-ratelimit-limit-texts", Some("10")),
            ("x-ratelimit-remaining-texts", Some("2")),
            ("x-ratelimit-limit-requests", None),
        ],
    );
    scene.calls_since();
    for _ in 0..3 {
        let refused = texts(&scene, 4).await;
        check(&refused, 429, &["`app` may send 10 texts a minute"]);
        check_headers(&refused, &[("x-should-retry", Some("true"))]);
    }
    let never = texts(&scene, 11).await;
    check(&never, 429, &["fewer than the 11 of this request"]);
    check_headers(&never, &[("x-should-retry", Some("false")), ("retry-after", None)]);
    assert_eq!(scene.calls_since(), 0);
    check(&texts(&scene, 2).await, 200, &[]);
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_refused_for_another_reason_are_given_back() {
    let limited = table("app", "texts_per_minute = 3");
    let gateway = Gateway::start(&format!("[embed]\nmax_texts = 2\n{limited}{EMBEDDED}")).await;
    for _ in 0..3 {
        check(&ask(&gateway, "app", "/v1/embeddings", &[], 3).await, 400, &["3 texts, more than 2"]);
    }
    check(&ask(&gateway, "app", "/v1/embeddings", &[], 2).await, 200, &[]);
    check(&ask(&gateway, "app", "/v1/embeddings", &[], 1).await, 200, &[]);
    check(&ask(&gateway, "app", "/v1/embeddings", &[], 1).await, 429, &[]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_is_for_the_right_admin_and_without_keys_for_all() {
    let (keyed, open) = (gateway().await, Gateway::start(EMBEDDED).await);
    for path in
        ["/metrics", "/admin/models", "/admin/upstreams", "/admin/plugins", "/admin/config", "/admin/keys"]
    {
        check(&read(&keyed, None, path).await, 401, &["authorization: Bearer KEY"]);
        check(&read(&keyed, Some("both"), path).await, 403, &["lacks the right `admin`", path]);
        check(&read(&keyed, Some("admin"), path).await, 200, &[]);
        check(&read(&open, None, path).await, 200, &[]);
        let elsewhere = keyed.ask("GET", path, &[], Vec::new()).await;
        assert_eq!(elsewhere.status, 404, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        check(&read(&keyed, None, path).await, 200, &[]);
    }
    keyed.stop().await;
    open.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_tells_models_configuration_and_use() {
    let limited = table("app", "texts_per_minute = 50") + &table("boss", "rights = [\"admin\"]");
    let gateway = Gateway::start(&format!("{limited}{EMBEDDED}")).await;
    let models = read(&gateway, Some("boss"), "/admin/models").await.json;
    let model = models["models"].as_array().unwrap().iter().find(|one| one["name"] == "test-embed").unwrap();
    let want = serde_json::json!({
        "name": "test-embed", "upstream_name": "static-embed-en-256", "upstreams": ["inside"],
        "prompts": { "query": "", "document": "" }, "preprocess": [],
        "max_tokens": 8192, "dimensions": 256, "tokenizer": "exact",
    });
    check(&ask(&gateway, "app", "/v1/embeddings", &[], 3).await, 200, &[]);
    check(&ask(&gateway, "app", "/v1/embeddings", &[("x-embergate-prepared", "true")], 3).await, 403, &[]);
    let now = read(&gateway, Some("boss"), "/admin/models").await.json;
    assert!(now["models"].as_array().unwrap().contains(&want), "{now}");
    assert_eq!(model["upstreams"], want["upstreams"]);

    let config = read(&gateway, Some("boss"), "/admin/config").await;
    assert_eq!(config.header("content-type"), Some("application/toml; charset=utf-8"));
    let toml: toml::Table = config.text.parse().unwrap();
    assert_eq!(toml["model"][0]["name"].as_str(), Some("test-embed"));
    assert_eq!(toml["key"][0]["texts_per_minute"].as_integer(), Some(50));

    let keys = read(&gateway, Some("boss"), "/admin/keys").await;
    let app = &keys.json["keys"][0];
    let last_used = app["last_used"].as_str().unwrap();
    assert!(last_used.len() == 20 && last_used.ends_with('Z'), "{last_used}");
    let want = serde_json::json!({
        "name": "app", "rights": ["embed"], "lane": null, "requests_per_minute": null, "texts_per_minute": 50,
        "requests": 2, "texts": 3, "refused": 1, "last_used": last_used,
    });
    assert_eq!(*app, want);

    for text in [&config.text, &keys.text] {
        for name in ["app", "boss"] {
            let hash = KeyHash::of(secret(name).as_bytes()).to_hex();
            assert!(!text.contains(&hash) && !text.contains(&secret(name)), "{text}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_by_key_and_strangers_apart() {
    let tables = table("counted", "requests_per_minute = 1") + &table("chief", "rights = [\"admin\"]");
    let gateway = Gateway::start(&format!("{tables}{EMBEDDED}")).await;
    for status in [200, 429] {
        check(&ask(&gateway, "counted", "/v1/embeddings", &[], 2).await, status, &[]);
    }
    check(&ask(&gateway, "nobody", "/v1/embeddings", &[], 1).await, 401, &[]);
    let metrics = read(&gateway, Some("chief"), "/metrics").await.text;
    for line in [
        r#"embergate_key_requests_total{key="counted"} 1"#,
        r#"embergate_key_texts_total{key="counted"} 2"#,
        r#"embergate_key_refused_total{key="counted",reason="requests"} 1"#,
        r#"embergate_unauthorized_total{reason="wrong"} "#,
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    assert!(!metrics.contains("secret-"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_emptied_by_admins_for_one_model_or_for_all() {
    let gateway = gateway().await;
    let delete = async |name: Option<&str>, path: &str| {
        let bearer = name.map(|name| format!("Bearer {}", secret(name)));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        gateway.ask_at(gateway.admin, "DELETE", path, &headers, Vec::new()).await
    };
    let asked = async || ask(&gateway, "embed", "/v1/embeddings", &[], 3).await;
    check(&asked().await, 200, &[]);
    for (name, status) in [(None, 401), (Some("both"), 403)] {
        check(&delete(name, "/admin/cache").await, status, &[]);
    }
    check(&delete(Some("admin"), "/admin/cache?model=nope").await, 404, &["`nope`"]);
    check(&delete(Some("admin"), "/admin/cache?modle=test-embed").await, 400, &["model=NAME"]);
    check(&read(&gateway, Some("admin"), "/admin/cache").await, 405, &["DELETE"]);
    check(&delete(Some("admin"), "/admin/cache?model=static-embed-en-256").await, 200, &[r#""entries":0"#]);
    let known = asked().await;
    let hits = known.header("x-embergate-cache").unwrap().to_owned();
    assert!(hits == "3/3", "{hits}");
    let emptied = delete(Some("admin"), "/admin/cache?model=test-embed%3Alatest").await;
    assert_eq!(emptied.json["model"], "test-embed");
    assert!(0 < emptied.json["entries"].as_u64().unwrap(), "{}", emptied.text);
    assert!(1024 < emptied.json["bytes"].as_u64().unwrap(), "{}", emptied.text);
    assert_eq!(asked().await.header("x-embergate-cache"), Some("0/3"));
    check(&delete(Some("admin"), "/admin/cache").await, 200, &[r#""model":null"#]);
    assert_eq!(asked().await.header("x-embergate-cache"), Some("0/3"));
    gateway.stop().await;
}
