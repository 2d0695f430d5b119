//! Requests without end that are refused one by one.

use tokio::io::{AsyncWriteExt, copy, sink};

use super::gateway::Attacked;

const FLOOD: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refused_requests_leaves_a_sample_in_the_log() {
    let attacked = Attacked::start("").await;
    let (mut answers, mut requests) = attacked.connect().await.into_split();
    let flood = tokio::spawn(async move {
        for _ in 0..FLOOD {
            requests.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        }
    });
    let reader = tokio::spawn(async move { copy(&mut answers, &mut sink()).await });
    attacked.log.until(&["INFO", "status=404", "n_left_out="]);
    attacked.serves_others().await;
    attacked.log.until(&["INFO", "status=200"]);
    flood.abort();
    reader.abort();
}
