//! Clients that leave in the middle, and a gateway that does.

use bytes::Bytes;
use embergate_test_support::ollama::OllamaSim;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gateway::{Attacked, PATIENCE, post, rest, status};

/// Configuration for a gateway before `sim`.
pub(super) fn upstream(sim: &OllamaSim) -> String {
    let url = sim.url();
    format!(
        "[[upstream]]\nname = \"sim\"\nkind = \"ollama\"\nurl = \"{url}\"\n\
         [[upstream]]\nname = \"inside\"\nkind = \"embedded\"\n\
         [[model]]\nname = \"sim\"\nupstreams = [\"sim\"]\n\
         [[model]]\nname = \"static-embed-en-256\"\nupstreams = [\"inside\"]\n"
    )
}

const MOSS: &str = r#"{"model":"sim","input":"moss"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_call_along() {
    let sim = OllamaSim::start(&[("sim", 8)]).await;
    let attacked = Attacked::start_with("", &upstream(&sim)).await;
    let held = sim.hold();
    let mut stream = attacked.connect().await;
    stream.write_all(post("/api/embed", "", MOSS).as_bytes()).await.unwrap();
    held.until_waiting(1).await;
    drop(stream);
    timeout(PATIENCE, held.until_waiting(0)).await.expect("the upstream's call ended");
    held.release();
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_a_request_that_is_taken_back_takes_its_call_along() {
    let sim = OllamaSim::start(&[("sim", 8)]).await;
    let attacked = Attacked::start_with("", &upstream(&sim)).await;
    let held = sim.hold();
    let (mut client, connection) = h2::client::handshake(attacked.connect().await).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut ask = |text: &str| {
        let request =
            hyper::Request::post(format!("http://{}/api/embed", attacked.address())).body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let json = format!(r#"{{"model":"sim","input":"{text}"}}"#);
        body.send_data(Bytes::from(json), true).unwrap();
        (answer, body)
    };
    let (left, mut body) = ask("moss");
    held.until_waiting(1).await;
    let (kept, _body) = ask("fern");
    held.until_waiting(2).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(left);
    timeout(PATIENCE, held.until_waiting(1)).await.expect("the upstream's call ended");
    held.release();
    assert_eq!(timeout(PATIENCE, kept).await.unwrap().unwrap().status(), 200);
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_answers_what_is_under_way_and_takes_nothing_new() {
    let sim = OllamaSim::start(&[("sim", 8)]).await;
    let attacked = Attacked::start_with("", &upstream(&sim)).await;
    let held = sim.hold();
    let mut under_way = attacked.connect().await;
    under_way.write_all(post("/api/embed", "", MOSS).as_bytes()).await.unwrap();
    held.until_waiting(1).await;
    let mut idle = attacked.connect().await;
    attacked.gateway.terminate();
    // The listener is gone when the idle connection is.
    assert_eq!(rest(&mut idle).await, "");
    let refused = timeout(PATIENCE, async {
        while TcpStream::connect(attacked.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    refused.await.expect("new connections are refused");
    held.release();
    let answer = rest(&mut under_way).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let Attacked { gateway, .. } = attacked;
    let (code, _) = tokio::task::spawn_blocking(|| gateway.wait()).await.unwrap();
    assert_eq!(code, Some(0));
}
