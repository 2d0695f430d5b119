//! The real clients, each in its own language, against a gateway in this process.
//!
//! They are not installed by a bare `cargo test`: `tests/conformance/clients/install.sh` does.

use std::process::Command;

use embergate_test_support::ollama::{Fault, OllamaSim};

use crate::gateway::Gateway;
use crate::recorder::Recorder;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/clients");
const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tokenizer.json");
const DIMENSIONS: usize = 768;

/// What each client has to say, at least: a script that ends early must not pass.
const CHECKS: &[(&str, usize)] = &[
    ("openai-python", 14),
    ("ollama-python", 9),
    ("langchain-openai", 11),
    ("langchain-ollama", 9),
    ("curl", 8),
    ("openai-node", 13),
];

/// Runs a script of the clients' folder that must end well, and returns what it printed.
async fn run(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(format!("{FOLDER}/{script}"));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaints}");
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients of Python and Node: run tests/conformance/clients/install.sh, then with --include-ignored"]
async fn the_real_clients_get_the_vectors_that_the_upstream_gives() {
    let sim = OllamaSim::start(&[("test-embed", DIMENSIONS)]).await;
    let url = sim.url();
    let gateway = Gateway::start(&format!(
        "[[upstream]]\nname = \"sim\"\nkind = \"ollama\"\nurl = {url:?}\n\
         [[model]]\nname = \"test-embed\"\nupstreams = [\"sim\"]\n\
         tokenizer = {TOKENIZER:?}\nmax_tokens = 65536\nmatryoshka = true\n"
    ))
    .await;
    let said = run("run.sh", &[&format!("http://{}", gateway.address), "test-embed", &url]).await;
    for (client, least) in CHECKS {
        let n_checks = said.lines().filter(|line| line.starts_with(&format!("OK    {client}: "))).count();
        assert!(*least <= n_checks, "{client} says {n_checks} lines, not {least}:\n{said}");
    }
    gateway.stop().await;
}

/// What a client asks for, what it must raise, and how the gateway answered each of its requests.
struct Failing {
    case: &'static str,
    raises: &'static str,
    statuses: &'static [u16],
}

const fn failing(case: &'static str, raises: &'static str, statuses: &'static [u16]) -> Failing {
    Failing { case, raises, statuses }
}

/// OpenAI's clients repeat a request twice where that may help.
const OPENAI: &[Failing] = &[
    failing("busy", "openai RateLimitError 429", &[429, 429, 429]),
    failing("soon", "fine", &[429, 200]),
    failing("gone", "openai InternalServerError 503", &[503, 503, 503]),
    failing("chat", "openai BadRequestError 400", &[400]),
    failing("short", "openai InternalServerError 502", &[502]),
    failing("no-such-model", "openai NotFoundError 404", &[404]),
    failing("fine=", "openai BadRequestError 400", &[400]),
];

/// Ollama's clients repeat nothing.
const OLLAMA: &[Failing] = &[
    failing("busy", "ollama ResponseError 503", &[503]),
    failing("gone", "ollama ResponseError 503", &[503]),
    failing("short", "ollama ResponseError 502", &[502]),
    failing("no-such-model", "ollama ResponseError 404", &[404]),
];

/// One upstream for each way to fail; a model bears the name of its upstream.
struct Troubles {
    gateway: Gateway,
    soon: OllamaSim,
    _others: Vec<OllamaSim>,
}

impl Troubles {
    async fn start() -> Self {
        let not_embedding =
            r#"{"error":"This server does not support embeddings. Start it with `--embeddings`"}"#;
        let faults = [
            ("fine", None),
            ("busy", Some(busy())),
            ("chat", Some(Fault::Answer(501, not_embedding.to_owned()))),
            ("short", Some(Fault::Short)),
        ];
        let soon = OllamaSim::start(&[("soon", DIMENSIONS)]).await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut toml = table("soon", &soon.url()) + &table("gone", &format!("http://{closed}"));
        let mut others = Vec::new();
        for (name, fault) in faults {
            let sim = OllamaSim::start(&[(name, DIMENSIONS)]).await;
            if let Some(fault) = fault {
                sim.fail_always(fault);
            }
            toml += &table(name, &sim.url());
            others.push(sim);
        }
        Self { gateway: Gateway::start(&toml).await, soon, _others: others }
    }
}

fn busy() -> Fault {
    Fault::Answer(
        503,
        r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#.into(),
    )
}

fn table(name: &str, url: &str) -> String {
    format!(
        "[[upstream]]\nname = {name:?}\nkind = \"ollama\"\nurl = {url:?}\n\
         [[model]]\nname = {name:?}\nupstreams = [{name:?}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients of Python and Node: run tests/conformance/clients/install.sh, then with --include-ignored"]
async fn the_real_clients_repeat_what_may_succeed_and_nothing_else() {
    let troubles = Troubles::start().await;
    let recorder = Recorder::start(troubles.gateway.address).await;
    let clients = [
        ("openai_python", OPENAI),
        ("openai_node", OPENAI),
        ("langchain_openai", OPENAI),
        ("ollama_python", OLLAMA),
        ("langchain_ollama", OLLAMA),
    ];
    for (client, cases) in clients {
        recorder.forget();
        // Its text is not in the cache yet: the first answer that is any good comes last.
        troubles.soon.fail_next([busy()]);
        let soon = format!("soon=for {client}");
        let asked = cases.iter().map(|failing| if failing.case == "soon" { &soon } else { failing.case });
        let url = format!("http://{}", recorder.address);
        let arguments: Vec<&str> = [client, &url].into_iter().chain(asked).collect();
        let said = run("failing.sh", &arguments).await;
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            cases.iter().map(|f| f.raises).collect::<Vec<_>>(),
            "{client}"
        );
        for Failing { case, statuses, .. } in cases {
            let model = case.trim_end_matches('=');
            assert_eq!(recorder.statuses(model), *statuses, "{client} asking `{model}`");
        }
        troubles.soon.heal();
    }
    troubles.gateway.stop().await;
}
