//! The loop, with a folder and a clock of our own.

use std::sync::Mutex;

use tokio::sync::{Notify, mpsc};

use super::*;

/// A folder that a test fills.
#[derive(Clone, Default)]
struct Fake(Arc<FakeFolder>);

#[derive(Default)]
struct FakeFolder {
    /// Sizes by name; nothing where the folder cannot be read.
    files: Mutex<Option<BTreeMap<&'static str, u64>>>,
    unfit: Mutex<BTreeMap<PathBuf, String>>,
    bell: Notify,
    n_looks: Mutex<u32>,
}

impl Fake {
    fn of(files: &[(&'static str, u64)]) -> Self {
        let fake = Self::default();
        fake.set(files);
        fake
    }

    /// Changes the files, and tells nobody.
    fn set(&self, files: &[(&'static str, u64)]) {
        *self.0.files.lock().unwrap() = Some(files.iter().copied().collect());
    }

    fn ring(&self) {
        self.0.bell.notify_one();
    }

    fn sights(&self) -> Option<BTreeMap<String, Sight>> {
        let files = self.0.files.lock().unwrap();
        let sights = files.as_ref()?.iter().map(|(name, size)| ((*name).to_owned(), sight(*size)));
        Some(sights.collect())
    }
}

fn sight(size: u64) -> Sight {
    Sight::File(PathBuf::from(size.to_string()), None)
}

impl Folder for Fake {
    async fn look(&mut self) -> io::Result<Look> {
        *self.0.n_looks.lock().unwrap() += 1;
        let unfit = self.0.unfit.lock().unwrap().clone();
        let sights = self.sights().ok_or_else(|| io::Error::other("not mounted"))?;
        Ok(Look { plugins: sights, unfit })
    }

    async fn rung(&self) {
        self.0.bell.notified().await;
    }

    fn complain(&self, _: &mut Complaint, _: Result<(), &io::Error>) {}
}

/// Tells what is done, and does it for as long as its gate is closed.
struct Told {
    acts: mpsc::Sender<(String, Option<Sight>)>,
    gate: Arc<tokio::sync::Semaphore>,
}

impl Act for Told {
    async fn act(&self, name: String, sight: Option<Sight>) {
        self.acts.send((name, sight)).await.unwrap();
        self.gate.acquire().await.unwrap().forget();
    }

    fn unfit(&self, _: BTreeMap<PathBuf, String>) {}
}

struct Running {
    fake: Fake,
    acts: mpsc::Receiver<(String, Option<Sight>)>,
    gate: Arc<tokio::sync::Semaphore>,
    _task: tokio::task::JoinSet<()>,
}

const SETTLE: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_secs(5);

impl Running {
    /// The loop over `fake`, which acts without end in no time.
    fn start(fake: Fake) -> Self {
        let (acts, told) = mpsc::channel(100);
        let gate = Arc::new(tokio::sync::Semaphore::new(1_000));
        let settling = Settling::new(SETTLE, fake.sights().unwrap_or_default());
        let mut task = tokio::task::JoinSet::new();
        task.spawn(follow(fake.clone(), settling, EVERY, Told { acts, gate: gate.clone() }));
        Self { fake, acts: told, gate, _task: task }
    }

    /// What is done next, and after how long.
    async fn next(&mut self) -> (String, Option<Sight>, Duration) {
        let begun = Instant::now();
        let (name, sight) = self.acts.recv().await.unwrap();
        (name, sight, begun.elapsed())
    }

    fn n_looks(&self) -> u32 {
        *self.fake.0.n_looks.lock().unwrap()
    }
}

/// Lets the loop get to its next wait.
async fn settle_down() {
    tokio::time::sleep(PAUSE).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_acted_on_once_it_rests_after_the_bell_has_rung() {
    let mut running = Running::start(Fake::of(&[]));
    settle_down().await;
    running.fake.set(&[("a", 1)]);
    running.fake.ring();
    let (name, got, after) = running.next().await;
    assert_eq!((name.as_str(), got), ("a", Some(sight(1))));
    assert!(SETTLE <= after && after < EVERY, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_nobody_told_of_is_found_by_looking() {
    let mut running = Running::start(Fake::of(&[("a", 1)]));
    settle_down().await;
    running.fake.set(&[("a", 2)]);
    let (_, got, after) = running.next().await;
    assert_eq!(got, Some(sight(2)));
    assert!(after <= EVERY + SETTLE, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_still_written_waits() {
    let mut running = Running::start(Fake::of(&[]));
    for size in 1..20 {
        running.fake.set(&[("a", size)]);
        running.fake.ring();
        tokio::time::sleep(SETTLE / 2).await;
        assert!(running.acts.is_empty(), "acted on {size}");
    }
    assert_eq!(running.next().await.1, Some(sight(19)));
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_another_is_loaded_is_loaded_after_it() {
    let mut running = Running::start(Fake::of(&[]));
    running.gate.forget_permits(1_000);
    running.fake.set(&[("a", 1)]);
    running.fake.ring();
    assert_eq!(running.next().await.0, "a");
    running.fake.set(&[("a", 2), ("b", 1)]);
    running.fake.ring();
    tokio::time::sleep(10 * EVERY).await;
    assert!(running.acts.is_empty(), "two at once");
    running.gate.add_permits(9);
    assert_eq!(running.next().await.1, Some(sight(2)));
    assert_eq!(running.next().await.0, "b");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_is_acted_on_and_a_folder_that_cannot_be_read_is_not() {
    let mut running = Running::start(Fake::of(&[("a", 1)]));
    *running.fake.0.files.lock().unwrap() = None;
    running.fake.ring();
    tokio::time::sleep(10 * EVERY).await;
    assert!(running.acts.is_empty(), "what cannot be seen is not gone");
    running.fake.set(&[]);
    assert_eq!(running.next().await.1, None);
}

#[tokio::test(start_paused = true)]
async fn a_bell_that_never_stops_does_not_make_it_look_all_the_time() {
    let running = Running::start(Fake::of(&[]));
    for _ in 0..1_000 {
        running.fake.ring();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(running.n_looks() <= 52, "{}", running.n_looks());
}
