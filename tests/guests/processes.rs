//! What has to be seen from several processes, or in one where nothing else runs:
//! the test binary starts itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use embergate::document::Document;
use embergate::plugin::{Call, Config, Limits, PluginInfo, Plugins};
use embergate::tokenizer::Tokenizer;

use super::{call, document, hostile, limits};

/// How many calls trap, or end as badly.
const TRAPS: usize = 10_000;
/// Growth that a process of some hundred threads and caches may show without losing anything.
const MAX_GROWTH_KIB: u64 = 16 << 10;

/// Runs one ignored test of this binary by itself; returns what it printed.
fn run(test: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.envs(environment.iter().copied());
    let output = command.output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{why}");
    said.into_owned()
}

#[test]
fn ten_thousand_traps_leave_nothing_behind() {
    run("processes::traps_by_the_thousand", &[]);
}

#[tokio::test]
#[ignore = "run by `ten_thousand_traps_leave_nothing_behind`, where nothing else opens files"]
async fn traps_by_the_thousand() {
    const ORDERS: [&str; 10] = [
        "trap",
        "drop",
        "recurse",
        "grow",
        "huge",
        "hold",
        "no such document",
        "no such span",
        "overlap",
        "refuse",
    ];
    let limits = Limits { memory: embergate::units::ByteSize::mib(3), handles: 50, ..limits() };
    let plugin = hostile(limits).await;
    let held = plugin.held().expect("there is a pool");
    let mut before = None;
    for n_traps in 0..TRAPS {
        let order = ORDERS[n_traps % ORDERS.len()];
        plugin.process(&call(), &[document(order)]).await.expect_err(order);
        if n_traps == TRAPS / 10 {
            before = Some((open_files(), resident_kib()));
        }
    }
    plugin.process(&call(), &[document("keep")]).await.unwrap();
    assert_eq!(plugin.held().unwrap(), held);
    let Some((files, resident)) = before else { return };
    assert_eq!(open_files(), files);
    let now = resident_kib();
    assert!(now <= resident + MAX_GROWTH_KIB, "{resident} KiB were resident, and now {now}");
}

/// Nothing where there is no `/proc`.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Every first-party plugin, and a guest that tells all it can find out, answer the
/// same in each process: compiled or loaded, in a fresh instance or one that has
/// served others, whatever the time, the environment and the order.
#[test]
fn the_same_input_has_the_same_answer_in_every_process() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let answers = |environment: &[(&str, &str)]| -> Vec<String> {
        let environment = [environment, &[("ANSWERS_CACHE", cache)]].concat();
        let said = run("processes::answers", &environment);
        let mut lines: Vec<_> =
            said.lines().filter(|line| line.starts_with("answer ")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let compiled = answers(&[("TZ", "UTC"), ("LANG", "C")]);
    for name in ["html", "hostile", "markdown", "recursive", "unicode"] {
        let of_plugin = compiled.iter().filter(|line| line.starts_with(&format!("answer {name} "))).count();
        assert!(8 < of_plugin, "{name} answered {of_plugin} times");
    }
    let backwards = answers(&[("ANSWERS_ORDER", "backwards"), ("TZ", "Asia/Tokyo"), ("LANG", "tr_TR.UTF-8")]);
    let fresh = answers(&[("ANSWERS_USES", "1"), ("SECRET", "of this process")]);
    assert_eq!(compiled, backwards);
    assert_eq!(compiled, fresh);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the test that starts this process reads it")]
#[ignore = "run by `the_same_input_has_the_same_answer_in_every_process`"]
async fn answers() {
    let var = |name: &str| std::env::var(name).ok();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(super::built(), dir.path().join("hostile.wasm")).unwrap();
    let mut limits = limits();
    if let Some(uses) = var("ANSWERS_USES") {
        limits.uses = uses.parse().unwrap();
    }
    let cache_dir = var("ANSWERS_CACHE").map(PathBuf::from);
    let config = Config { dir: dir.path().into(), cache_dir, limits, ..Config::default() };
    let plugins = Plugins::load(&config, &[]).await.unwrap();
    let mut asked: Vec<_> = plugins
        .list()
        .into_iter()
        .flat_map(|plugin| inputs().map(move |input| (plugin.clone(), input)))
        .collect();
    if var("ANSWERS_ORDER").is_some() {
        asked.reverse();
    }
    let mut said = String::new();
    for (plugin, (name, text)) in asked {
        let answer = blake3::hash(answer(&plugins, &plugin, &text).await.as_bytes());
        writeln!(said, "answer {} {name} {}", plugin.name, &answer.to_hex()[..16]).unwrap();
    }
    // Behind what the harness has said on this line.
    println!("\n{said}");
}

/// What the plugin makes of the text, in each of its roles and with each tokenizer.
async fn answer(plugins: &Plugins, plugin: &PluginInfo, text: &str) -> String {
    static TOKENIZERS: LazyLock<[Arc<Tokenizer>; 2]> = LazyLock::new(|| {
        let exact = Tokenizer::from_file(&root().join("model/tokenizer.json")).unwrap();
        [Arc::new(Tokenizer::estimate()), Arc::new(exact)]
    });
    let documents = [Document { media_type: "text/html".into(), ..document(text) }];
    let mut said = String::new();
    for tokenizer in &*TOKENIZERS {
        let call = Call { tokenizer: Arc::clone(tokenizer), max_tokens: 120, ..call() };
        if plugin.is_preprocessor {
            let plugin = plugins.preprocessor(&plugin.name).unwrap();
            write!(said, "{:?}", plugin.process(&call, &documents).await).unwrap();
        }
        if plugin.is_chunker {
            let plugin = plugins.chunker(&plugin.name).unwrap();
            write!(said, "{:?}", plugin.split(&call, &documents).await).unwrap();
        }
    }
    said
}

/// The golden cases of all plugins, and the order to tell what there is to see.
fn inputs() -> impl Iterator<Item = (String, String)> {
    let mut inputs = BTreeMap::from([("around".to_owned(), "look around".to_owned())]);
    for plugin in std::fs::read_dir(root().join("plugins")).unwrap() {
        let Ok(cases) = std::fs::read_dir(plugin.unwrap().path().join("cases")) else { continue };
        for case in cases {
            let path = case.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.contains(".expected.") && !name.ends_with(".chunks") {
                inputs.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    inputs.into_iter()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
