//! Clients that ask for much and do not read it.

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::gateway::{Attacked, MIB, MODEL, PATIENCE, exchange, post, status};

/// An answer of some 23 MB: more than the system's buffers take.
const N_TEXTS: usize = 8192;
const MANY_TEXTS: &str = "[embed]\nmax_texts = 8192";

fn large(headers: &str) -> String {
    let texts: Vec<_> = (0..N_TEXTS).map(|number| format!("\"kelp {}\"", number % 100)).collect();
    post("/v1/embeddings", headers, &format!(r#"{{"model":"{MODEL}","input":[{}]}}"#, texts.join(",")))
}

/// Asks for much, over a connection that takes little before it is read.
async fn ask(attacked: &Attacked) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(attacked.address().parse().unwrap()).await.unwrap();
    stream.write_all(large("").as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_hung_up_on_and_others_are_served() {
    let attacked =
        Attacked::start_with("write_timeout = \"500ms\"\nmax_answers = \"32MiB\"", MANY_TEXTS).await;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        stuck.push(ask(&attacked).await);
    }
    attacked.serves_others().await;
    attacked.log.until(&["INFO", "cause=\"slow_reader\""]);
    // Its answer waits for the room of those that are not read.
    let answer = exchange(&mut attacked.connect().await, large("connection: close\r\n")).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(answer.matches("\"index\":").count(), N_TEXTS);
    attacked.serves_others().await;
    // The answers themselves, and the texts and vectors that they are made of.
    attacked.stays_within(32 * MIB + 6 * 16 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_who_opens_no_window_is_hung_up_on() {
    let attacked = Attacked::start_with("write_timeout = \"500ms\"", MANY_TEXTS).await;
    let (mut client, connection) = h2::client::handshake(attacked.connect().await).await.unwrap();
    let driver = tokio::spawn(connection);
    let request =
        hyper::Request::post(format!("http://{}/v1/embeddings", attacked.address())).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    let text = large("");
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    body.send_data(Bytes::copy_from_slice(json.as_bytes()), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    // The window of the stream is full, and nobody opens it again.
    attacked.log.until(&["INFO", "cause=\"slow_reader\""]);
    drop(timeout(PATIENCE, driver).await.unwrap());
    attacked.serves_others().await;
    drop(answer);
}
