//! What normal clients ask while something else is done to the gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::connection::Connection;
use crate::drive::Source;
use crate::exchange::{self, Api, Exchange};

/// Different texts, which come again and again.
const N_TEXTS: usize = 64;

/// Short texts, one a request, each with the vector that `model` gives at `address` while nobody
/// disturbs it.
pub async fn questions(address: SocketAddr, model: &str) -> Source {
    let host = address.to_string();
    let mut connection = Connection::open(address).await.expect("the gateway listens");
    let mut exchanges = Vec::new();
    for number in 0..N_TEXTS {
        let texts = [format!("question {number}: how fast does kelp grow in cold and in warm water?")];
        let first = Exchange::embed(Api::OpenaiFloats, &host, model, &texts);
        let answer = connection.ask(first.bytes()).await.expect("the gateway answers");
        let vectors = exchange::numbers(answer.body).expect("an answer has vectors");
        exchanges
            .push(Arc::new(Exchange::embed(Api::Openai, &host, model, &texts).wanting(Api::Openai, vectors)));
    }
    Arc::new(move |number| exchanges[(number % exchanges.len() as u64) as usize].clone())
}
