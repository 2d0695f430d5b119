//! Ten thousand documents over HTTP: what the gateway makes of its upstreams, and how much faster that
//! is than one document after the other.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange, Source};
use embergate_test_support::binary::Desk;
use futures_util::future::join_all;
use serde_json::Value;

use super::{fleet, paced};
use crate::roles::MODEL;
use crate::servers::{self, Server};
use crate::texts;

pub(crate) const LINES: &[Subject] = &[
    Subject {
        name: "index-lists",
        what: "10,000 documents over HTTP in lists of 100, 4 upstreams of 5 ms a call and 2 ms a text",
        against: "texts a second that the four can embed, added up",
        goal: Goal::AtLeast(0.9),
        how: "First each upstream is asked directly over two connections for lists of 8, of 16 and of 32 texts, four \
              seconds each; the best of the three is what it can do. Then eight connections send the gateway in front \
              of the four 100 lists of 100 new texts. Checked.",
    },
    Subject {
        name: "index-http",
        what: "`embergate index --gateway` of 10,000 files of one chunk, with the same upstreams",
        against: "texts a second that the four can embed, added up",
        goal: Goal::AtLeast(0.9),
        how: "The command from its start to its end: it scans, reads and cuts the files, has them embedded by the \
              gateway, and writes points and words into the embedded store. Scan, start and end of the command count.",
    },
    Subject {
        name: "index-pattern",
        what: "the same",
        against: "documents a second of the pattern that it replaces",
        goal: Goal::AtLeast(20.0),
        how: "What it replaces: a script that sends one document after the other with `requests` \
              (tests/bench/peers/one_by_one.py) to the server that people start with (tests/bench/peers/pattern.py), \
              which asks one such upstream. 300 documents of the same files; reading them and a store are left out.",
    },
];

const N_DOCUMENTS: usize = 10_000;
const N_IN_LIST: u64 = 100;
/// Of lists; the command has as many requests under way.
const CONNECTIONS: usize = 8;
/// Documents that are sent one after the other.
const N_IN_TURN: usize = 300;

pub(crate) async fn measure() -> Result<Vec<Run>, String> {
    let simulators: Vec<Server> = (0..4).map(|_| servers::simulator(&paced(5, 2))).collect();
    let each = join_all(simulators.iter().map(fleet::best)).await;
    let sum: f64 = each.into_iter().collect::<Result<Vec<f64>, String>>()?.iter().sum();
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let lists = lists(&gateway).await?;
    let corpus = Corpus::new();
    let indexed = corpus.index(&gateway)?;
    let in_turn = corpus.in_turn(&simulators[0])?;
    let run = |figure: f64| {
        Run::new(figure)
            .with("in lists", lists, "documents/s")
            .with("the command", indexed, "documents/s")
            .with("the four upstreams, added up", sum, "texts/s")
            .with("one after the other", in_turn, "documents/s")
    };
    Ok(vec![run(lists / sum), run(indexed / sum), run(indexed / in_turn)])
}

/// Documents a second, over a client that sends lists of 100.
async fn lists(gateway: &Server) -> Result<f64, String> {
    let source: Source = texts::fresh_and_checked(Api::Openai, &gateway.host(), N_IN_LIST);
    let n_lists = N_DOCUMENTS as u64 / N_IN_LIST;
    // Made before the clock runs: to write what is expected takes longer than to send it.
    let exchanges: Arc<Vec<Arc<Exchange>>> = Arc::new((1..=n_lists).map(|number| source(number)).collect());
    let made: Source = Arc::new(move |number| exchanges[number as usize % exchanges.len()].clone());
    // The first answer waits for the upstreams to say which model they have.
    texts::send_each(gateway, &source, 1, 1).await?;
    let since = Instant::now();
    texts::send_each(gateway, &made, n_lists, CONNECTIONS).await?;
    Ok(N_DOCUMENTS as f64 / since.elapsed().as_secs_f64())
}

/// Files of one chunk each, none like another.
struct Corpus(Desk);

impl Corpus {
    fn new() -> Self {
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
        let folder = desk.folder().join("documents");
        for number in 0..N_DOCUMENTS {
            let folder = folder.join(format!("{:02}", number % 100));
            fs::create_dir_all(&folder).expect("a folder can be made");
            let text = format!(
                "Note {number}\n\nThe keeper of light {number} writes that ship {} passed at {} o'clock, bound for \
                 harbour {}, with {} sacks of rye and a clerk who asked for the way to the market. The wind was {} \
                 and the bread was late.\n",
                number * 7919 % 10_007,
                number % 24,
                number * 31 % 997,
                number * 17 % 4001,
                ["low", "high", "from the north", "not to be trusted"][number % 4],
            );
            fs::write(folder.join(format!("{number}.txt")), text).expect("a file can be written");
        }
        Self(desk)
    }

    /// Documents a second of the command.
    fn index(&self, gateway: &Server) -> Result<f64, String> {
        let url = format!("http://{}", gateway.host());
        let arguments =
            ["index", "documents", "--collection", "notes", "--model", MODEL, "--json", "--gateway", &url];
        let since = Instant::now();
        let said = self.0.run(&arguments);
        let seconds = since.elapsed().as_secs_f64();
        let summary: Value =
            said.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        match (said.code, summary["embedded"].as_u64()) {
            (Some(0), Some(n_embedded)) if n_embedded == N_DOCUMENTS as u64 => {
                Ok(N_DOCUMENTS as f64 / seconds)
            }
            (code, n_embedded) => {
                Err(format!("the command ended with {code:?} and {n_embedded:?}: {}", said.stderr))
            }
        }
    }

    /// Documents a second of the pattern.
    fn in_turn(&self, simulator: &Server) -> Result<f64, String> {
        let server = servers::pattern(simulator)?;
        let seconds = servers::one_by_one(&server, &self.0.folder().join("documents"), N_IN_TURN)?;
        Ok(N_IN_TURN as f64 / seconds)
    }
}
