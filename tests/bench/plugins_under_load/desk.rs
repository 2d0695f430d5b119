//! The real binary with the guest that does as it is told among its plugins.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use embergate_load::connection::Connection;
use embergate_load::metrics::Metrics;
use embergate_load::{Api, Exchange, exchange};
use embergate_test_support::binary::{Desk, Gateway};
use embergate_test_support::process::Process;
use serde_json::Value;

/// The model inside the binary, with no plugin before it.
pub(crate) const PLAIN: &str = "static-embed-en-256";

/// A running gateway. Killed when dropped.
pub(crate) struct Desked {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    admin: SocketAddr,
    _running: Gateway,
    pub(crate) desk: Desk,
}

/// What the gateway said to a request.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Said {
    /// The words and the code of an error.
    pub(crate) fn error(&self) -> (String, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
        (text("message"), text("code"))
    }
}

impl Desked {
    /// With `plugins` as files by name, and `tables` beside a model of each name in `models`,
    /// which goes through the plugin that stands with it.
    pub(crate) fn start(plugins: &[(&str, &[u8])], models: &[(&str, &str)], tables: &str) -> Self {
        let desk = Desk::to_measure(env!("CARGO_BIN_EXE_embergate"));
        for (name, component) in plugins {
            desk.write(&format!("plugins/{name}.wasm"), component);
        }
        let listen = "listen = \"127.0.0.1:0\"";
        let here = "[[upstream]]\nname = \"here\"\nkind = \"embedded\"\n";
        let mut file = format!("[server]\n{listen}\n[admin]\n{listen}\n{tables}\n{here}");
        for (name, plugin) in models.iter().chain(&[(PLAIN, "")]) {
            let preprocess = if plugin.is_empty() { String::new() } else { format!("\"{plugin}\"") };
            file += &format!(
                "[[model]]\nname = \"{name}\"\nupstream_name = \"{PLAIN}\"\nupstreams = [\"here\"]\npreprocess = [{preprocess}]\n"
            );
        }
        let running = desk.serve_file(&desk.write("bench.toml", file), desk.log_file());
        let address = |host: &str| host.parse().expect("an address");
        let (admin, process) = (address(&running.admin), Process(running.pid()));
        Self { address: address(&running.api), process, admin, _running: running, desk }
    }

    pub(crate) async fn metrics(&self) -> Result<Metrics, String> {
        Metrics::read(self.admin).await
    }

    /// Asks `model` for the vector of `text`.
    pub(crate) fn request(&self, model: &str, text: &str) -> Exchange {
        Exchange::embed(Api::OpenaiFloats, &self.address.to_string(), model, &[text])
    }

    /// The vectors of `texts`, one for each.
    pub(crate) async fn vectors(&self, model: &str, texts: &[String]) -> Result<Vec<Vec<f32>>, String> {
        let exchange = Exchange::embed(Api::OpenaiFloats, &self.address.to_string(), model, texts);
        let said = ask(&mut self.connect().await?, &exchange).await?;
        let vectors = exchange::numbers(&said.body).filter(|vectors| vectors.len() == texts.len());
        vectors.ok_or_else(|| format!("status {} in the place of vectors", said.status))
    }

    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        Connection::open(self.address).await.map_err(|error| error.to_string())
    }
}

pub(crate) async fn ask(connection: &mut Connection, exchange: &Exchange) -> Result<Said, String> {
    let answer = connection.ask(exchange.bytes()).await.map_err(|error| error.to_string())?;
    Ok(Said { status: answer.status, body: answer.body.to_vec() })
}

/// The guest of `tests/guests` that does as a text tells it.
pub(crate) fn obedient() -> Vec<u8> {
    built("guests/hostile.wasm", "tests/guests/build.sh")
}

pub(crate) fn first_party(name: &str) -> Vec<u8> {
    built(&format!("plugins/{name}.wasm"), "plugins/build.sh")
}

fn built(path: &str, by: &str) -> Vec<u8> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")), PathBuf::from);
    fs::read(target.join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}: run {by} first"))
}
