//! TLS: sessions of the right kind only, and certificates that change under way.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use embergate_test_support::binary::Desk;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gateway::{PATIENCE, connect, exchange};

/// A certificate for `localhost` and its key, in PEM, and what a client trusts.
struct Pair {
    certificate: String,
    key: String,
    trusted: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            trusted: made.cert.der().clone(),
        }
    }

    fn write(&self, desk: &Desk) {
        let key = desk.write("tls/key.pem", &self.key);
        std::fs::set_permissions(key, Permissions::from_mode(0o644)).unwrap();
        desk.write("tls/certificate.pem", &self.certificate);
    }

    /// A session with a gateway that has this pair, or the reason why there is none.
    async fn session(&self, address: &str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        timeout(PATIENCE, connector.connect(name, connect(address).await)).await.expect("in time")
    }
}

const KEYS: &str = "head_timeout = \"500ms\"\n[server.tls]\ncertificate = \"tls/certificate.pem\"\n\
                    key = \"tls/key.pem\"\nreload_every = \"20ms\"";

fn desk() -> Desk {
    Desk::new(env!("CARGO_BIN_EXE_embergate"))
}

async fn is_healthy<S>(mut stream: S) -> bool
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_over_tls() {
    let (desk, pair) = (desk(), Pair::new());
    pair.write(&desk);
    let (gateway, log) = desk.serve_watched(KEYS, "");
    log.until(&["WARN", "private key", "key.pem"]);
    log.until(&["INFO", "serving over TLS", "until="]);
    assert!(is_healthy(pair.session(&gateway.api, &["http/1.1"]).await.unwrap()).await);
    assert!(is_healthy(pair.session(&gateway.api, &[]).await.unwrap()).await);
    let stream = pair.session(&gateway.api, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/healthz").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 200);
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pair_is_taken_and_a_bad_one_is_not() {
    let (desk, first, second) = (desk(), Pair::new(), Pair::new());
    first.write(&desk);
    let (gateway, log) = desk.serve_watched(KEYS, "");
    let before = first.session(&gateway.api, &[]).await.unwrap();
    desk.write("tls/certificate.pem", "nonsense");
    log.until(&["WARN", "the old one is kept", "certificate.pem"]);
    assert!(is_healthy(first.session(&gateway.api, &[]).await.unwrap()).await);
    second.write(&desk);
    log.until(&["INFO", "going over to a new certificate", "until="]);
    assert!(is_healthy(second.session(&gateway.api, &[]).await.unwrap()).await);
    assert!(first.session(&gateway.api, &[]).await.is_err());
    assert!(is_healthy(before).await, "a session under way goes on");
}

/// The ClientHello of a client that knows nothing better than `version`.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 4, 0xc0, 0x13, 0x00, 0x2f]); // ciphers of its time
    hello.extend([1, 0]); // no compression
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_get_an_alert_and_no_session() {
    let (desk, pair) = (desk(), Pair::new());
    pair.write(&desk);
    let (gateway, log) = desk.serve_watched(KEYS, "");
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = connect(&gateway.api).await;
        stream.write_all(&old_hello(version)).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert: {answer:?}");
    }
    log.until(&["INFO", "cause=\"tls\"", "error="]);
    assert!(is_healthy(pair.session(&gateway.api, &[]).await.unwrap()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_gets_nothing() {
    let (desk, pair) = (desk(), Pair::new());
    pair.write(&desk);
    let (gateway, log) = desk.serve_watched(KEYS, "");
    let answer =
        exchange(&mut connect(&gateway.api).await, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!answer.contains("HTTP"), "{answer}");
    log.until(&["cause=\"tls\""]);
    let hello = old_hello([3, 3]);
    assert_eq!(exchange(&mut connect(&gateway.api).await, &hello[..20]).await, "");
    log.until(&["cause=\"slow_head\""]);
    assert!(is_healthy(pair.session(&gateway.api, &[]).await.unwrap()).await);
}

#[track_caller]
fn check_refused(desk: &Desk, want: &[&str]) {
    let file = desk.write("refused.toml", format!("[server]\nlisten = \"127.0.0.1:0\"\n{KEYS}\n"));
    let said = desk.run(&[Path::new("serve"), Path::new("--config"), &file]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    for words in want {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
}

#[test]
fn a_pair_that_does_not_do_is_refused_at_the_start() {
    let (desk, pair, other) = (desk(), Pair::new(), Pair::new());
    check_refused(&desk, &["[server.tls]", "cannot read", "certificate.pem"]);
    desk.write("tls/certificate.pem", &pair.certificate);
    desk.write("tls/key.pem", &other.key);
    check_refused(&desk, &["key.pem", "does not belong to", "certificate.pem"]);
    desk.write("tls/key.pem", &pair.certificate);
    check_refused(&desk, &["key.pem", "no private key"]);
    desk.write("tls/key.pem", &pair.key);
    desk.write("tls/certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    check_refused(&desk, &["certificate.pem"]);
    desk.write("tls/certificate.pem", &pair.key);
    check_refused(&desk, &["certificate.pem", "no certificate"]);
}
