//! Texts that nobody embedded before, over Ollama's API: what the gateway costs where it can save nothing.

use embergate_load::Api;
use embergate_load::table::{Goal, Run, Subject};

use super::at_once;
use crate::servers::{self, Server};
use crate::side_by_side::{Asked, in_turns};
use crate::texts;

pub(crate) const LATENCY: Subject = Subject {
    name: "miss-latency",
    what: "misses, one connection: median time",
    against: "the simulator asked directly",
    goal: Goal::AtMost(1.9),
    how: "One connection asks for one new text after the other over `/api/embed`, in turns from the gateway and from \
          the simulator behind it, which embeds at once. A text through the gateway is written and read twice.",
};

pub(crate) const THROUGHPUT: Subject = Subject {
    name: "miss-throughput",
    what: "misses, 32 connections, simulator without delay",
    against: "requests a second of nginx, passing the same requests through",
    goal: Goal::AtLeast(1.0),
    how: "32 connections ask for one new text in each request over `/api/embed`, in turns through the gateway and \
          through nginx, both in front of the same simulator. nginx has a worker for each core, 64 connections that \
          it keeps, and no log. It reads and writes no JSON; the gateway checks every vector, and asks for many texts \
          in one call.",
};

/// The median time of a text, as a multiple of the upstream's own.
pub(crate) async fn latency() -> Result<Vec<Run>, String> {
    let simulator = servers::simulator(&at_once());
    let gateway = servers::gateway(&[&simulator], "");
    let (ours, direct) = in_turns(&new_texts(&gateway), &new_texts(&simulator), 1).await?;
    let run = Run::new(ours.p50 / direct.p50).with("gateway, median", ours.p50, "ms").with(
        "simulator, median",
        direct.p50,
        "ms",
    );
    Ok(vec![run])
}

/// Texts a second, as a share of what nginx passes through.
pub(crate) async fn throughput() -> Result<Vec<Run>, String> {
    let simulator = servers::simulator(&at_once());
    let nginx = servers::nginx(&simulator)?;
    let gateway = servers::gateway(&[&simulator], "");
    let (ours, theirs) = in_turns(&new_texts(&gateway), &new_texts(&nginx), 32).await?;
    let run = Run::new(ours.per_second / theirs.per_second)
        .with("gateway", ours.per_second, "requests/s")
        .with("nginx", theirs.per_second, "requests/s")
        .with("gateway, median", ours.p50, "ms")
        .with("nginx, median", theirs.p50, "ms");
    Ok(vec![run])
}

fn new_texts(server: &Server) -> Asked<'_> {
    let host = server.host();
    Asked {
        server,
        checked: texts::fresh_and_checked(Api::Ollama, &host, 1),
        measured: texts::fresh(Api::Ollama, &host, 1),
    }
}
