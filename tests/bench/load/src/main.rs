//! `load`: measures any server that speaks OpenAI's or Ollama's embeddings API.
#![expect(clippy::print_stdout, reason = "a command prints")]

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use embergate_load::connection::Connection;
use embergate_load::{Api, Exchange, Load, Source, exchange};

/// Send requests for embeddings, and tell how long they took.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// Host and port of the server.
    #[arg(default_value = "127.0.0.1:8642")]
    server: String,
    #[arg(long)]
    model: String,
    /// How requests and answers are written.
    #[arg(long, value_enum, default_value = "openai")]
    api: ApiName,
    /// Connections, each with one request under way at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests a second, evenly; as fast as they are answered when absent.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before, which do not count.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Texts in a request.
    #[arg(long, default_value_t = 1)]
    texts: usize,
    /// Different requests, sent again and again; with 0 no text comes twice.
    #[arg(long, default_value_t = 1000)]
    distinct: u64,
    /// Host and port of a server with Ollama's API whose vectors every answer must have; needs `--distinct`.
    #[arg(long)]
    reference: Option<String>,
    /// A file to write the figures to, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ApiName {
    /// `/v1/embeddings` with base64
    Openai,
    /// `/v1/embeddings` with numbers
    OpenaiFloats,
    /// `/api/embed`
    Ollama,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let address = resolve(&arguments.server)?;
    let source = arguments.source().await?;
    let load = |seconds: f64| Load {
        address,
        connections: arguments.connections,
        duration: Duration::from_secs_f64(seconds),
        patience: Duration::from_secs(60),
    };
    load(arguments.warm_up).closed(&source).await;
    let load = load(arguments.seconds);
    let report = match arguments.rate {
        Some(rate) => load.open(&source, rate).await,
        None => load.closed(&source).await,
    };
    println!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

impl Arguments {
    async fn source(&self) -> Result<Source, Box<dyn Error>> {
        let api = match self.api {
            ApiName::Openai => Api::Openai,
            ApiName::OpenaiFloats => Api::OpenaiFloats,
            ApiName::Ollama => Api::Ollama,
        };
        let (host, model, n_texts) = (self.server.clone(), self.model.clone(), self.texts);
        if self.distinct == 0 {
            // Another run must not meet the texts of this one in a cache.
            let run = std::process::id();
            return Ok(Arc::new(move |number| {
                Arc::new(Exchange::embed(api, &host, &model, &texts(run, number, n_texts)))
            }));
        }
        let mut exchanges = Vec::new();
        for number in 0..self.distinct {
            let texts = texts(0, number, n_texts);
            let exchange = Exchange::embed(api, &host, &model, &texts);
            exchanges.push(Arc::new(match &self.reference {
                Some(reference) => exchange.wanting(api, vectors(reference, &model, &texts).await?),
                None => exchange,
            }));
        }
        Ok(Arc::new(move |number| exchanges[(number % exchanges.len() as u64) as usize].clone()))
    }
}

fn texts(run: u32, number: u64, n_texts: usize) -> Vec<String> {
    (0..n_texts)
        .map(|at| format!("run {run}, request {number}, text {at}: kelp grows fast in cold water"))
        .collect()
}

/// The vectors that `server` gives for `texts`.
async fn vectors(server: &str, model: &str, texts: &[String]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let exchange = Exchange::embed(Api::Ollama, server, model, texts);
    let mut connection = Connection::open(resolve(server)?).await?;
    let answer = connection.ask(exchange.bytes()).await?;
    exchange::numbers(answer.body)
        .filter(|vectors| vectors.len() == texts.len())
        .ok_or_else(|| format!("the reference `{server}` answered {} without vectors", answer.status).into())
}

fn resolve(server: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let host = server.trim_start_matches("http://").trim_end_matches('/');
    host.to_socket_addrs()?.next().ok_or_else(|| format!("`{server}` has no address").into())
}
