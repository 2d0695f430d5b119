//! Models that come and go at upstreams, which are asked by a clock that is paused.

use async_trait::async_trait;

use super::*;
use crate::batcher::{self, Batcher};
use crate::cache;
use crate::embed::send::{Sender, Senders};
use crate::embed::served::Engine;
use crate::plugin::Plugins;
use crate::upstream::{Answers, Call, Identity, Offered, Place};

/// An upstream that lists what it is told to.
#[derive(Default)]
struct Fake {
    models: Mutex<Vec<&'static str>>,
    is_down: AtomicBool,
    /// Never answers.
    hangs: AtomicBool,
    n_looks: Mutex<u32>,
}

impl Fake {
    fn with(models: &[&'static str]) -> Arc<Self> {
        let fake = Self::default();
        fake.has(models);
        Arc::new(fake)
    }

    fn has(&self, models: &[&'static str]) {
        *self.models.lock().unwrap() = models.to_vec();
    }

    fn n_looks(&self) -> u32 {
        *self.n_looks.lock().unwrap()
    }
}

#[async_trait]
impl Backend for Fake {
    async fn embed(&self, _: Call) -> Result<Answers, UpstreamError> {
        let canary = crate::model::Embedding::new(vec![1.0])
            .map_err(|_| UpstreamError::Busy { upstream: "fake".into() })?;
        Ok(Answers { texts: vec![Ok(canary)], n_tokens: None })
    }

    async fn identity(&self, _: &str) -> Result<Identity, UpstreamError> {
        Ok(Identity { text: "one".into(), is_read: true })
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        *self.n_looks.lock().unwrap() += 1;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.is_down.load(Ordering::Relaxed) {
            return Err(UpstreamError::Busy { upstream: "fake".into() });
        }
        let offered = |name: &&str| Offered {
            name: (*name).into(),
            digest: None,
            embeds: Some(true),
            context: None,
            card: None,
        };
        Ok(self.models.lock().unwrap().iter().map(offered).collect())
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}

struct Bench {
    discovery: Discovery,
    catalog: Arc<Catalog>,
}

impl Bench {
    /// All of `fakes` are looked at; nothing is configured.
    fn new(fakes: &[Arc<Fake>]) -> Self {
        let names: Vec<String> = (0..fakes.len()).map(|number| format!("up-{number}")).collect();
        let table = |name: &String| {
            toml::from_str(&format!("name = \"{name}\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:1\""))
                .unwrap()
        };
        let sender = |(name, fake): (&String, &Arc<Fake>)| {
            Sender::new(
                name.clone(),
                Place::of(&table(name)),
                2,
                Arc::clone(fake) as Arc<dyn Backend>,
                &Default::default(),
            )
        };
        let upstreams = names.iter().zip(fakes).map(sender).collect();
        let senders = Senders { upstreams, doubt: Notify::new() };
        let slots = vec![batcher::Upstream::with_slots(1); fakes.len()];
        let batcher = Batcher::new(batcher::Config::default(), &slots, senders);
        let engine = Arc::new(Engine::new(batcher, &cache::Config::default()));
        let builder = Builder {
            upstreams: names.iter().map(table).collect(),
            plugins: Arc::new(Plugins::none()),
            engine,
        };
        let catalog = Arc::new(Catalog::new(Models::new()));
        let searched: Vec<usize> = (0..fakes.len()).collect();
        let discovery = Discovery::new(&Config::default(), builder, &searched, catalog.clone());
        Self { discovery, catalog }
    }

    fn listed(&self) -> Vec<String> {
        self.catalog.all().keys().map(ToString::to_string).collect()
    }

    async fn find(&self, name: &str) -> bool {
        let name = ModelName::new(name).unwrap();
        self.discovery.find_by(|| self.catalog.get(&name)).await.is_some()
    }
}

/// Time passes, and all that is due happens.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

const EVERY: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_the_start() {
    let fake = Fake::with(&["a"]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    pass(EVERY * 3).await;
    assert_eq!((fake.n_looks(), bench.listed().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn models_come_and_go_with_each_look() {
    let fake = Fake::with(&["a"]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    bench.discovery.start();
    pass(Duration::ZERO).await;
    assert_eq!(bench.listed(), ["a"]);
    fake.has(&["b", "c"]);
    pass(EVERY - Duration::from_secs(1)).await;
    assert_eq!(bench.listed(), ["a"]);
    pass(Duration::from_secs(2)).await;
    assert_eq!(bench.listed(), ["b", "c"]);
    assert_eq!(fake.n_looks(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_down_keeps_its_models() {
    let fake = Fake::with(&["a"]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    bench.discovery.start();
    pass(Duration::ZERO).await;
    fake.is_down.store(true, Ordering::Relaxed);
    pass(EVERY * 2).await;
    assert_eq!((fake.n_looks(), bench.listed()), (3, vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_has_is_unsaid_until_it_answers_once() {
    let fakes = [Fake::with(&["a"]), Fake::with(&["b"])];
    let bench = Bench::new(&fakes);
    fakes[1].is_down.store(true, Ordering::Relaxed);
    bench.discovery.start();
    pass(Duration::ZERO).await;
    assert!(bench.discovery.unseen().is_some());
    fakes[1].is_down.store(false, Ordering::Relaxed);
    pass(EVERY).await;
    assert!(bench.discovery.unseen().is_none());
    fakes[1].is_down.store(true, Ordering::Relaxed);
    pass(EVERY).await;
    assert!(bench.discovery.unseen().is_none(), "its models are known");
}

#[tokio::test(start_paused = true)]
async fn a_model_is_gone_once_all_its_upstreams_have_lost_it() {
    let fakes = [Fake::with(&["a"]), Fake::with(&["a"])];
    let bench = Bench::new(&fakes);
    bench.discovery.start();
    pass(Duration::ZERO).await;
    fakes[0].has(&[]);
    pass(EVERY).await;
    assert_eq!(bench.listed(), ["a"]);
    fakes[1].has(&[]);
    pass(EVERY).await;
    assert!(bench.listed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_an_unknown_model_has_it_looked_for_at_once() {
    let fake = Fake::with(&[]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    bench.discovery.start();
    pass(Duration::from_secs(10)).await;
    fake.has(&["a"]);
    let asked = Instant::now();
    assert!(bench.find("a").await);
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_first_who_asks_starts_the_search() {
    let bench = Bench::new(&[Fake::with(&["a"])]);
    assert!(bench.find("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_came_after_the_last_look_is_found_with_the_next() {
    let fake = Fake::with(&[]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    assert!(!bench.find("a").await);
    fake.has(&["a"]);
    let asked = Instant::now();
    assert!(bench.find("a").await);
    assert!(asked.elapsed() <= PAUSE, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_an_upstream_is_asked_once_in_a_while() {
    let fake = Fake::with(&[]);
    let bench = Bench::new(std::slice::from_ref(&fake));
    bench.discovery.start();
    pass(Duration::from_secs(10)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        let found = futures_util::future::join_all((0..100).map(|_| bench.find("nobody"))).await;
        assert!(found.iter().all(|found| !found));
    }
    let allowed = begun.elapsed().as_secs() / PAUSE.as_secs() + 3;
    assert!(u64::from(fake.n_looks()) <= allowed, "{} looks, not {allowed}", fake.n_looks());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_answers_costs_its_models_only() {
    let fakes = [Fake::with(&["a"]), Fake::with(&["b"])];
    fakes[0].hangs.store(true, Ordering::Relaxed);
    let bench = Bench::new(&fakes);
    let asked = Instant::now();
    assert!(bench.find("b").await);
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(!bench.find("a").await);
    assert_eq!(asked.elapsed(), Config::default().discover_wait);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_as_it_was_stays_the_same() {
    let fakes = [Fake::with(&["a"]), Fake::with(&["b"])];
    let bench = Bench::new(&fakes);
    bench.discovery.start();
    pass(Duration::ZERO).await;
    let served = |name: &str| bench.catalog.get(&ModelName::new(name).unwrap()).unwrap();
    let (a, b) = (served("a"), served("b"));
    fakes[1].has(&["a", "b"]);
    pass(EVERY).await;
    assert!(Arc::ptr_eq(&b, &served("b")));
    assert!(!Arc::ptr_eq(&a, &served("a")), "it has one upstream more");
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_what_hangs_and_who_waits() {
    let fake = Fake::with(&["a"]);
    fake.hangs.store(true, Ordering::Relaxed);
    let bench = Bench::new(&[fake]);
    let asked = Instant::now();
    let (found, ()) = tokio::join!(bench.find("a"), bench.discovery.shutdown());
    assert_eq!((found, asked.elapsed()), (false, Duration::ZERO));
}
