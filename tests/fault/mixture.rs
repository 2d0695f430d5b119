//! Any mixture of cached, flying and new texts, in any order, with duplicates, whole
//! or cut, in either lane, with fewer dimensions, over upstreams that fail now and
//! then, for clients some of which leave, and out of a cache that holds few of them:
//! every text gets its own vector, in its own place.

use std::path::Path;
use std::sync::Arc;

use embergate::cache;
use embergate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder, Lane};
use embergate::units::ByteSize;
use embergate_test_support::gate::Held;
use embergate_test_support::ollama::{Fault, OllamaSim, vector};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::bench::{DIMENSIONS, MODEL, Setup, request, shortened};

/// Different texts, so few that requests share many.
const N_TEXTS: u8 = 24;
/// Texts from this one on are longer than the model takes.
const LONG_FROM: u8 = 18;
/// Tokens of a text, at most, the two special ones included.
const MAX_TOKENS: usize = 8;
/// Room for a third of the texts.
const CACHE_BYTES: u64 = 8 * (256 + DIMENSIONS as u64 * 4);

/// The words of text `number`: each is one token to the simulator and to the tokenizer.
fn words(number: u8) -> Vec<&'static str> {
    let word = |bit: u8| if number >> bit & 1 == 0 { "one" } else { "two" };
    let n_more = if LONG_FROM <= number { 6 } else { 0 };
    (0..5).map(word).chain(std::iter::repeat_n("one", n_more)).collect()
}

fn text(number: u8) -> String {
    words(number).join(" ")
}

/// The vector that the text must have, after it was cut where it is too long.
fn right(number: u8, dimensions: Option<usize>) -> Vec<f32> {
    let words = words(number);
    let kept = words[..words.len().min(MAX_TOKENS - 2)].join(" ");
    let whole = vector(MODEL, &kept, DIMENSIONS);
    dimensions.map_or(whole.clone(), |dimensions| shortened(&whole, dimensions))
}

/// One request.
#[derive(Clone, Debug)]
struct Ask {
    texts: Vec<u8>,
    truncate: bool,
    lane: Option<Lane>,
    dimensions: Option<usize>,
    /// The client leaves after it was looked at so often.
    leaves: Option<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Ask),
    /// One of the next calls of an upstream goes wrong.
    Fault(usize, Fault),
    /// Calls wait at an upstream, so that those who ask from now on find texts flying.
    Hold(usize),
    /// They go on.
    Release,
    /// All who asked are answered, so that who asks next finds texts cached.
    Settle,
    /// The cache is emptied.
    Forget,
}

fn ask() -> impl Strategy<Value = Step> {
    let texts = prop_oneof![
        4 => prop::collection::vec(0..LONG_FROM, 1..60),
        1 => prop::collection::vec(0..N_TEXTS, 1..60),
        1 => prop::collection::vec(0..N_TEXTS, 1..2),
    ];
    let lane = prop::option::of(prop_oneof![Just(Lane::Interactive), Just(Lane::Bulk)]);
    let dimensions = prop::option::weighted(0.3, 1..=DIMENSIONS);
    let leaves = prop::option::weighted(0.2, 0..40_u8);
    (texts, any::<bool>(), lane, dimensions, leaves).prop_map(
        |(texts, truncate, lane, dimensions, leaves)| {
            Step::Ask(Ask { texts, truncate, lane, dimensions, leaves })
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::crash()),
        Just(Fault::internal()),
        Just(Fault::busy()),
        Just(Fault::Cut),
        Just(Fault::Half),
        Just(Fault::Short),
        Just(Fault::Long),
        Just(Fault::Zero),
        Just(Fault::Nan),
        Just(Fault::Dimensions(3)),
        Just(Fault::html()),
    ]
}

/// Steps in which one of `n_failing` upstreams fails now and then.
fn steps(n_failing: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => ask(),
        2 => (0..n_failing, fault()).prop_map(|(sim, fault)| Step::Fault(sim, fault)),
        1 => (0..2_usize).prop_map(Step::Hold),
        1 => Just(Step::Release),
        2 => Just(Step::Settle),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// What one upstream fails the other one answers, so nobody hears of it.
    #[test]
    fn every_text_gets_its_own_vector_while_one_upstream_is_well(steps in steps(1)) {
        run(steps, |error| panic!("{error}"));
    }

    /// Where both fail there may be an error, which is that of an upstream; what comes is right.
    #[test]
    fn every_text_gets_its_own_vector_or_an_error_of_an_upstream(steps in steps(2)) {
        run(steps, |error| {
            assert!(matches!(error, EmbedError::Upstream(_) | EmbedError::Text { .. }), "{error}");
        });
    }
}

fn run(steps: Vec<Step>, judge: impl Fn(EmbedError)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut scene = Scene::start().await;
        for step in steps {
            scene.play(step, &judge).await;
        }
        scene.settle(&judge).await;
        scene.ends_well().await;
    });
}

/// Two upstreams, and those who wait for answers.
struct Scene {
    sims: [OllamaSim; 2],
    embedder: Arc<Embedder>,
    asked: Vec<(Ask, JoinHandle<Result<EmbedAnswer, EmbedError>>)>,
    held: Vec<Held>,
}

impl Scene {
    async fn start() -> Self {
        let sims =
            [OllamaSim::start(&[(MODEL, DIMENSIONS)]).await, OllamaSim::start(&[(MODEL, DIMENSIONS)]).await];
        let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tokenizer.json");
        let setup = Setup {
            keys: format!(
                "tokenizer = {:?}\nmax_tokens = {MAX_TOKENS}\nmatryoshka = true",
                tokenizer.display().to_string()
            ),
            timeout: "60s",
            cache: cache::Config { max_bytes: ByteSize::b(CACHE_BYTES), ..Default::default() },
            ..Setup::default()
        };
        let embedder = setup.embedder(&sims.each_ref().map(OllamaSim::url)).unwrap();
        Self { sims, embedder, asked: Vec::new(), held: Vec::new() }
    }

    async fn play(&mut self, step: Step, judge: &impl Fn(EmbedError)) {
        match step {
            Step::Ask(ask) => self.ask(ask, judge).await,
            Step::Fault(sim, fault) => self.sims[sim].fail_next([fault]),
            Step::Hold(sim) => self.held.push(self.sims[sim].hold()),
            Step::Release => self.held.clear(),
            Step::Settle => self.settle(judge).await,
            Step::Forget => drop(self.embedder.forget(None).await),
        }
    }

    async fn ask(&mut self, ask: Ask, judge: &impl Fn(EmbedError)) {
        let request = EmbedRequest {
            truncate: ask.truncate,
            lane: ask.lane,
            dimensions: ask.dimensions,
            ..request(&ask.texts.iter().map(|number| text(*number)).collect::<Vec<_>>())
        };
        let embedder = self.embedder.clone();
        let waiting = tokio::spawn(async move { embedder.embed(request).await });
        let Some(n_looks) = ask.leaves else { return self.asked.push((ask, waiting)) };
        for _ in 0..n_looks {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        // It may have been answered before.
        if let Ok(answer) = waiting.await {
            check(&ask, answer, judge);
        }
    }

    async fn settle(&mut self, judge: &impl Fn(EmbedError)) {
        self.held.clear();
        for (ask, waiting) in self.asked.drain(..) {
            check(&ask, waiting.await.unwrap(), judge);
        }
    }

    /// Nothing that went wrong has left a trace.
    async fn ends_well(&self) {
        for sim in &self.sims {
            sim.heal();
        }
        // A text that both have failed alone is remembered until then.
        self.embedder.forget(None).await;
        let all = Ask {
            texts: (0..N_TEXTS).rev().collect(),
            truncate: true,
            lane: None,
            dimensions: None,
            leaves: None,
        };
        let texts: Vec<String> = all.texts.iter().map(|number| text(*number)).collect();
        let answer = self.embedder.embed(EmbedRequest { truncate: true, ..request(&texts) }).await;
        check(&all, answer, &|error| panic!("{error}"));
    }
}

fn check(ask: &Ask, answer: Result<EmbedAnswer, EmbedError>, judge: &impl Fn(EmbedError)) {
    let too_long = ask.texts.iter().position(|number| LONG_FROM <= *number).filter(|_| !ask.truncate);
    let answer = match answer {
        Err(EmbedError::TooLong { index, .. }) => return assert_eq!(Some(index), too_long, "{ask:?}"),
        Err(error) => return judge(error),
        Ok(answer) => answer,
    };
    assert_eq!(too_long, None, "{ask:?}: a part was taken for the whole");
    assert_eq!(answer.embeddings.len(), ask.texts.len());
    for (index, (number, embedding)) in ask.texts.iter().zip(&answer.embeddings).enumerate() {
        assert_eq!(embedding.values(), right(*number, ask.dimensions), "{ask:?}: text {index}");
        assert_eq!(answer.truncated.contains(&index), LONG_FROM <= *number, "{ask:?}: text {index}");
    }
}
