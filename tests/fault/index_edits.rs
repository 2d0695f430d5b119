//! Whatever is done to a folder and to a collection's configuration, with runs
//! in between: the store ends as one clean run leaves it, and nothing that it
//! knew is embedded again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use embergate::index::{CollectionConfig, Generations, IndexRequest, Root, Summary};
use embergate::store::TextHash;
use embergate_test_support::ollama::OllamaSim;
use embergate_test_support::qdrant::QdrantSim;
use proptest::prelude::*;

use crate::index_parts::{COLLECTION, Contents, Parts, Place};

/// In the order of a scan: text moves from earlier to later documents and back.
const NAMES: [&str; 6] = ["a.txt", "b.md", "c/d.txt", "m.txt", "y.md", "z.txt"];
const N_PARAGRAPHS: usize = 9;
/// What a model is asked to learn how long its vectors are.
const PROBE: &str = "dimensions";
const MODELS: [(&str, usize); 2] = [("sim-a", 8), ("sim-b", 8)];

/// What happens next. Numbers stand for whatever is there: they are taken modulo its length.
#[derive(Clone, Debug)]
enum Step {
    Insert {
        document: usize,
        at: usize,
        paragraph: usize,
    },
    Replace {
        document: usize,
        at: usize,
        paragraph: usize,
    },
    Delete {
        document: usize,
        at: usize,
    },
    Swap {
        one: (usize, usize),
        other: (usize, usize),
    },
    /// A document takes another's place, with its time, as `mv` does it.
    Move {
        from: usize,
        to: usize,
    },
    Copy {
        from: usize,
        to: usize,
    },
    Remove {
        document: usize,
    },
    MakeBinary {
        document: usize,
    },
    MakeEmpty {
        document: usize,
    },
    Configure(usize),
    Run,
    RunLimited(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (document, at, paragraph) = (0..NAMES.len(), 0..4_usize, 0..N_PARAGRAPHS);
    let place = (document.clone(), at.clone());
    prop_oneof![
        3 => (document.clone(), at.clone(), paragraph.clone())
            .prop_map(|(document, at, paragraph)| Step::Insert { document, at, paragraph }),
        2 => (document.clone(), at.clone(), paragraph)
            .prop_map(|(document, at, paragraph)| Step::Replace { document, at, paragraph }),
        2 => (document.clone(), at).prop_map(|(document, at)| Step::Delete { document, at }),
        2 => (place.clone(), place).prop_map(|(one, other)| Step::Swap { one, other }),
        2 => (document.clone(), document.clone()).prop_map(|(from, to)| Step::Move { from, to }),
        1 => (document.clone(), document.clone()).prop_map(|(from, to)| Step::Copy { from, to }),
        2 => document.clone().prop_map(|document| Step::Remove { document }),
        1 => document.clone().prop_map(|document| Step::MakeBinary { document }),
        1 => document.prop_map(|document| Step::MakeEmpty { document }),
        2 => (0..N_CONFIGURATIONS).prop_map(Step::Configure),
        4 => Just(Step::Run),
        2 => (1..4_u64).prop_map(Step::RunLimited),
    ]
}

const N_CONFIGURATIONS: usize = 6;

fn configuration(number: usize) -> (CollectionConfig, &'static str) {
    let rule = |media_type: &str, more: &str| {
        format!("[[rule]]\nmedia_type = \"{media_type}\"\nchunker = \"recursive\"\n{more}")
    };
    let (model, max_tokens, more) = match number % N_CONFIGURATIONS {
        0 => ("sim-a", 60, String::new()),
        1 => ("sim-a", 120, String::new()),
        2 => ("sim-a", 60, rule("text/plain", "preprocess = []")),
        3 => ("sim-a", 60, rule("text/markdown", "")),
        4 => ("sim-b", 60, String::new()),
        _ => ("sim-a", 60, "language = \"tr\"".to_owned()),
    };
    let table = format!("name = \"{COLLECTION}\"\nmodel = \"{model}\"\nmax_tokens = {max_tokens}\n{more}");
    (toml::from_str(&table).unwrap(), model)
}

/// Of some 35 tokens: one is a chunk, two are none.
fn paragraph(number: usize) -> String {
    format!(
        "Paragraph {number} is about bread: how it is made, who looks after it, what the weather does to it, and why nobody remembers the tide of that day."
    )
}

/// Files, and what is in them.
struct Folder {
    folder: tempfile::TempDir,
    /// Paragraphs by name; nothing where it is no text.
    documents: BTreeMap<&'static str, Option<Vec<usize>>>,
    /// Of the next change: each has another one, long past.
    now: SystemTime,
}

impl Folder {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let mut folder = Self { folder: tempfile::tempdir().unwrap(), documents: BTreeMap::new(), now };
        std::fs::create_dir(folder.folder.path().join("c")).unwrap();
        for (name, paragraphs) in [("a.txt", [0, 1]), ("b.md", [1, 2]), ("m.txt", [3, 3]), ("z.txt", [4, 0])]
        {
            folder.write(name, Some(paragraphs.to_vec()));
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&mut self, name: &'static str, paragraphs: Option<Vec<usize>>) {
        let text = match &paragraphs {
            None => "\0\0\0".to_owned(),
            Some(numbers) => {
                let head = if name == "y.md" { "# Why\n\n" } else { "" };
                let numbers = numbers.iter().map(|number| paragraph(*number));
                format!("{head}{}", numbers.collect::<Vec<_>>().join("\n\n"))
            }
        };
        std::fs::write(self.path(name), text).unwrap();
        self.now += Duration::from_secs(1);
        std::fs::File::options().write(true).open(self.path(name)).unwrap().set_modified(self.now).unwrap();
        self.documents.insert(name, paragraphs);
    }

    /// Changes the paragraphs of a document; one that is not there, or no text, becomes one.
    fn edit(&mut self, document: usize, change: impl FnOnce(&mut Vec<usize>)) {
        let name = NAMES[document];
        let mut paragraphs = self.documents.get(name).cloned().flatten().unwrap_or_default();
        change(&mut paragraphs);
        self.write(name, Some(paragraphs));
    }

    fn paragraph_at(&self, (document, at): (usize, usize)) -> Option<(usize, usize)> {
        let paragraphs = self.documents.get(NAMES[document])?.as_ref()?;
        let at = at.checked_rem(paragraphs.len())?;
        Some((at, paragraphs[at]))
    }

    fn swap(&mut self, one: (usize, usize), other: (usize, usize)) {
        let (Some(of_one), Some(of_other)) = (self.paragraph_at(one), self.paragraph_at(other)) else {
            return;
        };
        self.edit(one.0, |paragraphs| paragraphs[of_one.0] = of_other.1);
        self.edit(other.0, |paragraphs| paragraphs[of_other.0] = of_one.1);
    }

    fn copy(&mut self, from: usize, to: usize) {
        if let Some(paragraphs) = self.documents.get(NAMES[from]).cloned() {
            self.write(NAMES[to], paragraphs);
        }
    }

    /// A head belongs to a name, so only names without one are moved between.
    fn rename(&mut self, from: usize, to: usize) {
        let (from, to) = (NAMES[from], NAMES[to]);
        if from == to || [from, to].contains(&"y.md") {
            return;
        }
        if let Some(paragraphs) = self.documents.remove(from) {
            std::fs::rename(self.path(from), self.path(to)).unwrap();
            self.documents.insert(to, paragraphs);
        }
    }

    fn remove(&mut self, document: usize) {
        if self.documents.remove(NAMES[document]).is_some() {
            std::fs::remove_file(self.path(NAMES[document])).unwrap();
        }
    }

    fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::Insert { document, at, paragraph } => {
                self.edit(document, |all| all.insert(at % (all.len() + 1), paragraph));
            }
            Step::Replace { document, at, paragraph } => self.edit(document, |all| {
                let n = all.len().max(1);
                all.resize(n, paragraph);
                all[at % n] = paragraph;
            }),
            Step::Delete { document, at } => {
                if let Some((at, _)) = self.paragraph_at((document, at)) {
                    self.edit(document, |all| {
                        all.remove(at);
                    });
                }
            }
            Step::Swap { one, other } => self.swap(one, other),
            Step::Move { from, to } => self.rename(from, to),
            Step::Copy { from, to } => self.copy(from, to),
            Step::Remove { document } => self.remove(document),
            Step::MakeBinary { document } => self.write(NAMES[document], None),
            Step::MakeEmpty { document } => self.write(NAMES[document], Some(Vec::new())),
            Step::Configure(_) | Step::Run | Step::RunLimited(_) => {}
        }
    }
}

/// A folder, and a place that follows it.
struct World<'p> {
    parts: &'p Parts,
    folder: Folder,
    ollama: OllamaSim,
    place: Place,
    configuration: usize,
}

impl World<'_> {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Configure(number) => self.configuration = *number,
            Step::Run => drop(self.run(None).await),
            Step::RunLimited(limit) => drop(self.run(Some(*limit)).await),
            edit => self.folder.apply(edit),
        }
    }

    /// A run that remembers nothing but what the store does.
    async fn run(&self, limit: Option<u64>) -> Summary {
        let before = self.texts_by_generation().await;
        let n_calls = self.ollama.batches().len();
        let summary = self.run_in(&self.place, limit).await;
        assert_eq!(summary.n_failed, 0);
        let now = self.texts_by_generation().await;
        let mut embedded = HashSet::new();
        let texts = self.ollama.batches().into_iter().skip(n_calls).flatten();
        for text in texts.filter(|text| text != PROBE) {
            let hash = TextHash::of(&text);
            assert!(embedded.insert(hash), "embedded twice in one run: {text}");
            assert!(now[&summary.generation].texts.contains(&hash), "embedded for nothing: {text}");
            for (name, generation) in &before {
                let is_known = generation.space == now[&summary.generation].space
                    && (generation.is_serving || *name == summary.generation)
                    && generation.texts.contains(&hash);
                assert!(!is_known, "embedded, and known in {name}: {text}");
            }
        }
        assert_eq!(summary.n_embedded, embedded.len());
        summary
    }

    async fn run_in(&self, place: &Place, limit: Option<u64>) -> Summary {
        let (collection, model) = configuration(self.configuration);
        let indexer = self.parts.with_ollama(&self.ollama.url(), model).indexer(place);
        let roots = vec![Root::path(self.folder.folder.path())];
        indexer.run(IndexRequest { roots, collection, limit }, &mut |_| {}).await.unwrap()
    }

    async fn texts_by_generation(&self) -> HashMap<String, Texts> {
        let generations = Generations::of(self.place.store.as_ref(), COLLECTION).await.unwrap();
        let mut all = HashMap::new();
        for build in generations.all.values() {
            let points = self.place.points_of(&build.name).await;
            let texts = points.into_iter().map(|point| point.payload.text_hash).collect();
            let is_serving = generations.serving.as_ref() == Some(&build.name);
            all.insert(build.name.clone(), Texts { space: build.space.clone(), is_serving, texts });
        }
        all
    }

    /// Runs to the end: at once, or by as many limited runs as should do.
    async fn finish(&self, limit: Option<u64>) {
        let n_runs = limit.map_or(1, |limit| self.folder.documents.len() as u64 / limit + 1);
        for _ in 0..n_runs {
            self.run(limit).await;
        }
        let again = self.run(None).await;
        assert_eq!((again.n_indexed, again.n_removed), (0, 0), "{again:?}");
    }

    async fn clean(&self, clean: Place) -> Contents {
        self.run_in(&clean, None).await;
        clean.contents().await
    }
}

/// What a generation knows.
struct Texts {
    space: String,
    is_serving: bool,
    texts: HashSet<TextHash>,
}

async fn check(parts: &Parts, place: Place, clean: Place, steps: &[Step], last: Option<u64>) {
    let (folder, ollama) = (Folder::new(), OllamaSim::start(&MODELS).await);
    let mut world = World { parts, folder, ollama, place, configuration: 0 };
    for step in steps {
        world.step(step).await;
    }
    world.finish(last).await;
    world.place.contents().await.check(&world.clean(clean).await);
}

fn case() -> impl Strategy<Value = (Vec<Step>, Option<u64>)> {
    (prop::collection::vec(step(), 3..14), prop::option::of(1..4_u64))
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, ..ProptestConfig::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn any_edits_end_in_the_state_of_a_clean_run_in_the_embedded_store() {
    let runtime = runtime();
    let parts = runtime.block_on(Parts::new());
    proptest!(cases(24), |((steps, last) in case())| {
        runtime.block_on(async {
            check(&parts, Place::new().await, Place::new().await, &steps, last).await;
        });
    });
}

#[test]
fn any_edits_end_in_the_state_of_a_clean_run_in_qdrant() {
    let runtime = runtime();
    let parts = runtime.block_on(Parts::new());
    proptest!(cases(24), |((steps, last) in case())| {
        runtime.block_on(async {
            let (sim, clean) = (QdrantSim::spawn().await.unwrap(), QdrantSim::spawn().await.unwrap());
            check(&parts, Place::on(&sim).await, Place::on(&clean).await, &steps, last).await;
        });
    });
}
