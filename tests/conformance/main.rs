//! Do we speak OpenAI's and Ollama's language, and plugins ours?
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod cases; // the cases of `http.jsonl`, and how their bodies are written
mod clients; // the real clients, once they are installed
mod edges; // what the cases do not say: limits, health, pages from elsewhere
mod gateway; // a gateway in this process, and a client that sends any bytes
mod http; // runs the cases
mod judge; // what each answer must be
mod later; // cases that wait, each with its reason
mod plugins; // the first-party plugins, through the host
mod recorder; // between a client and a gateway: which requests came, and how they were answered
mod scenes; // the upstreams that cases suppose
