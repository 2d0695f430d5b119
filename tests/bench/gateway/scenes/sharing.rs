//! Many who ask for the same at once.

use embergate_load::connection::Connection;
use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange};
use embergate_test_support::ollama::OllamaSim;
use tokio::task::JoinSet;

use crate::roles::{DIMENSIONS, MODEL};
use crate::servers;
use crate::texts;

pub(crate) const LINES: &[Subject] = &[
    Subject {
        name: "identical",
        what: "200 identical requests at once: texts sent upstream",
        against: "",
        goal: Goal::AtMost(1.0),
        how: "200 connections ask for the same new text while the upstream holds its first call; the model has a \
              preprocessor. The call is let go once the gateway works on all 200. Counted are the texts that the \
              upstream was sent. Checked.",
    },
    Subject {
        name: "identical-plugin",
        what: "the same: calls of the plugin",
        against: "",
        goal: Goal::AtMost(1.0),
        how: "The same requests; counted by `embergate_plugin_call_seconds_count`.",
    },
];

const N: usize = 200;

pub(crate) async fn measure() -> Result<Vec<Run>, String> {
    let simulator = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let gateway = servers::gateway_with(&[simulator.url()], "", "preprocess = [\"unicode\"]");
    let before = gateway.metrics().await?.sum("embergate_plugin_call_seconds_count", "");
    let text = ["the same for all".to_owned()];
    let exchange = Exchange::embed(Api::Openai, &gateway.host(), MODEL, &text)
        .wanting(Api::Openai, texts::vectors(&text));
    let held = simulator.hold();
    let mut requests = JoinSet::new();
    for _ in 0..N {
        let (address, exchange) = (gateway.address, exchange.clone());
        requests.spawn(async move {
            let mut connection = Connection::open(address).await.ok()?;
            let answer = connection.ask(exchange.bytes()).await.ok()?;
            (answer.status == 200 && exchange.accepts(answer.body)).then_some(())
        });
    }
    held.until_waiting(1).await;
    // Requests that wait are counted when they end; that they were sent shows in the connections.
    while gateway.metrics().await?.sum("embergate_http_connections", "listener=\"apis\"") < N as f64 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    held.release();
    while let Some(request) = requests.join_next().await {
        request.ok().flatten().ok_or("a request failed or got another vector")?;
    }
    let n_texts = simulator.batches().iter().map(Vec::len).sum::<usize>() as f64;
    let n_plugin = gateway.metrics().await?.sum("embergate_plugin_call_seconds_count", "") - before;
    if n_plugin < 1.0 {
        return Err("the plugin was not called at all".to_owned());
    }
    let asked = |run: Run| run.with("requests answered", N as f64, "");
    Ok(vec![asked(Run::new(n_texts)), asked(Run::new(n_plugin))])
}
