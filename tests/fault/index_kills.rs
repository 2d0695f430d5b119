//! `kill -9` at random moments of `index`: what readers see is never wrong, and
//! the same command once more ends in the state of one clean run.
//!
//! Moments are told by what can be watched: lines of events, changes of the
//! file that SQLite writes ahead, calls that Qdrant sees. `EMBERGATE_KILL_SEED`
//! chooses others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use embergate::store;
use embergate_test_support::binary::Desk;
use embergate_test_support::qdrant::{QdrantSim, When};
use uuid::Uuid;

use crate::index_parts::{COLLECTION, Contents, Place, Stored, qdrant};

/// Kills after one another, at most, before a run is let go to its end.
const MAX_KILLS: usize = 4;
/// Changes of the file that is written ahead, in one run.
const N_WRITES: usize = 24;

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below.max(1) as u64).unwrap()
    }
}

/// When a run is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So many events were told.
    Event(usize),
    /// The file that is written ahead has changed so often.
    Write(usize),
    /// This call came to Qdrant, from the start of the run.
    Call(usize, When),
}

/// Which documents there are, and how they are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    is_edited: bool,
    /// Chooses tokens of a chunk and a language.
    cut: usize,
}

/// Documents, and a store that runs are killed at.
struct Scene {
    desk: Desk,
    dice: Dice,
    seed: u64,
    /// Where points are; the embedded store where there is none.
    sim: Option<QdrantSim>,
    /// Numbers the folders of stores.
    n_stores: usize,
    clean: HashMap<Version, Clean>,
    n_killed: usize,
    version: Version,
}

/// What one clean run leaves and takes.
struct Clean {
    contents: Contents,
    n_events: usize,
    n_calls: usize,
}

impl Scene {
    fn new(salt: u64) -> Self {
        let seed: u64 = std::env::var("EMBERGATE_KILL_SEED").map_or(7, |seed| seed.parse().unwrap());
        let version = Version { is_edited: false, cut: 0 };
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
        let dice = Dice(seed.wrapping_mul(31).wrapping_add(salt));
        let clean = HashMap::new();
        Self { desk, dice, seed, sim: None, n_stores: 0, clean, n_killed: 0, version }
    }

    /// An empty store in place of the one before.
    async fn renew(&mut self, is_qdrant: bool) {
        self.n_stores += 1;
        self.sim = if is_qdrant { Some(QdrantSim::spawn().await.unwrap()) } else { None };
    }

    fn folder(&self) -> PathBuf {
        self.desk.folder().join(format!("store{}", self.n_stores))
    }

    /// The documents and the configuration of a version.
    fn set(&mut self, version: Version) {
        self.version = version;
        write_documents(&self.desk.folder().join("docs"), version.is_edited);
        let (max_tokens, more) = [(60, ""), (60, "language = \"tr\"\n"), (90, "")][version.cut % 3];
        let url = self.sim.as_ref().map(|sim| format!("kind = \"qdrant\"\nurl = \"{}\"\n", sim.url()));
        let toml = format!(
            "[index]\nbatch_documents = 2\nbatch_texts = 4\n[store]\npath = \"{}\"\n{}[[collection]]\nname = \"{COLLECTION}\"\nmodel = \"static-embed-en-256\"\nmax_tokens = {max_tokens}\n{more}",
            self.folder().display(),
            url.unwrap_or_default(),
        );
        self.desk.write("embergate.toml", toml);
    }

    fn start(&self) -> Child {
        let mut command = self.desk.command(&["index", "docs", "--collection", COLLECTION, "--json"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// The store as a reader finds it, in a copy: what a killed run left is for the next run to mend.
    async fn read(&self) -> Place {
        let copy = tempfile::tempdir().unwrap();
        // It may have been killed before it made the folder.
        for entry in std::fs::read_dir(self.folder()).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let config = self.sim.as_ref().map_or_else(store::Config::default, qdrant);
        Place::in_folder(&config, copy).await
    }

    /// What a clean run of `version` leaves in a store of its own.
    async fn clean(&mut self, version: Version) {
        if self.clean.contains_key(&version) {
            return;
        }
        let (here, sim) = (self.n_stores, self.sim.take());
        self.n_stores = 1_000 + self.clean.len();
        self.sim = if sim.is_some() { Some(QdrantSim::spawn().await.unwrap()) } else { None };
        self.set(version);
        let mut child = self.start();
        let n_events = BufReader::new(child.stdout.take().unwrap()).lines().count();
        assert!(child.wait().unwrap().success());
        let contents = self.read().await.contents().await;
        let n_calls = self.sim.as_ref().map_or(0, QdrantSim::n_calls);
        self.clean.insert(version, Clean { contents, n_events, n_calls });
        (self.n_stores, self.sim) = (here, sim);
    }

    fn moment(&mut self) -> Moment {
        let Clean { n_events, n_calls, .. } = self.clean[&self.version];
        match self.dice.roll(if self.sim.is_some() { 6 } else { 2 }) {
            0 => Moment::Event(self.dice.roll(n_events)),
            1 => Moment::Write(self.dice.roll(N_WRITES)),
            2..4 => Moment::Call(1 + self.dice.roll(n_calls), When::Before),
            _ => Moment::Call(1 + self.dice.roll(n_calls), When::After),
        }
    }

    /// Runs until `moment`, if it comes; returns whether the run was killed.
    async fn run_until(&self, moment: Option<Moment>) -> bool {
        let stalled = match (moment, &self.sim) {
            (Some(Moment::Call(n, when)), Some(sim)) => Some(sim.stall(n, when)),
            _ => None,
        };
        let mut child = self.start();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let n_lines = if let Some(Moment::Event(n)) = moment { n } else { usize::MAX };
        let mut lines = tokio::task::spawn_blocking(move || stdout.lines().take(n_lines).count() == n_lines);
        let is_time = match (moment, stalled) {
            (Some(Moment::Write(n)), _) => until_written(&mut child, &self.folder(), n),
            (_, Some(mut stalled)) => tokio::select! {
                () = stalled.reached() => true,
                _ = &mut lines => false,
            },
            _ => (&mut lines).await.unwrap(),
        };
        if is_time {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if let Some(sim) = &self.sim {
            // Nobody waits any more for what is not reached now.
            drop(sim.stall(usize::MAX / 2, When::Before));
        }
        assert!(status.success() || status.code().is_none(), "{status}");
        !status.success()
    }

    /// Brings the store to the first of `versions`, killed `MAX_KILLS` times at most on the way;
    /// `check` looks at what readers see after each. After some, it is brought to the other one.
    async fn follow(&mut self, mut versions: [Version; 2], check: impl AsyncFn(&Place, [&Contents; 2])) {
        for version in versions {
            self.clean(version).await;
        }
        self.set(versions[0]);
        for round in 0..=MAX_KILLS {
            let moment = (round < MAX_KILLS).then(|| self.moment());
            let is_killed = self.run_until(moment).await;
            let _told = Told(format!("seed {}, {:?}, {moment:?}", self.seed, self.version));
            let clean = versions.map(|version| &self.clean[&version].contents);
            if !is_killed {
                self.read().await.contents().await.check(clean[0]);
                return;
            }
            check(&self.read().await, clean).await;
            self.n_killed += 1;
            if self.dice.roll(3) == 0 {
                versions.reverse();
                self.set(versions[0]);
            }
        }
        panic!("a run that nobody killed did not end");
    }
}

/// Says what was done, where an assertion fails meanwhile.
struct Told(String);

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "who reads a failure wants to do the same again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("killed at: {}", self.0);
        }
    }
}

/// Watches the files that SQLite writes ahead; false where the run ends before they changed so often.
fn until_written(child: &mut Child, folder: &Path, n_changes: usize) -> bool {
    let seen = || -> Vec<_> {
        let names = ["embergate.db-wal", "index-state.db-wal"];
        let metadata = names.iter().filter_map(|name| folder.join(name).metadata().ok());
        metadata.map(|metadata| (metadata.len(), metadata.modified().ok())).collect()
    };
    let (mut last, mut n) = (seen(), 0);
    while n <= n_changes {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let now = seen();
        if now != last {
            (last, n) = (now, n + 1);
        }
        std::thread::yield_now();
    }
    true
}

fn paragraph(topic: &str, number: usize) -> String {
    format!(
        "Paragraph {number} is about {topic}: how it is made, who looks after it, what the weather does to it, and why nobody remembers the tide of that day, nor the name of the harbour master."
    )
}

fn paragraphs(topic: &str, numbers: &[usize]) -> String {
    numbers.iter().map(|number| paragraph(topic, *number)).collect::<Vec<_>>().join("\n\n")
}

/// Ten documents; edited, there are other paragraphs, names and kinds in every second.
fn write_documents(folder: &Path, is_edited: bool) {
    let topics = ["ash", "bread", "coal", "dew", "elm", "fog", "gold", "hay", "ice", "jam"];
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (number, topic) in topics.iter().enumerate() {
        let (name, numbers) = match (is_edited, number) {
            (true, 0) => (format!("{topic}.txt"), vec![9, 0, 1, 2]),
            (true, 2) => continue,
            (true, 4) => ("moved.txt".to_owned(), vec![0, 1, 2]),
            (true, 6) => (format!("{topic}.txt"), vec![]),
            (true, 8) => (format!("{topic}.txt"), vec![2, 1, 0]),
            _ => (format!("{topic}.txt"), vec![0, 1, 2]),
        };
        files.insert(name, paragraphs(topic, &numbers));
    }
    if is_edited {
        files.insert("fog.txt".to_owned(), "\0".to_owned());
        // From a document before it, and to one after it.
        files.insert("jam.txt".to_owned(), format!("{}\n\n{}", paragraph("jam", 1), paragraph("coal", 1)));
        files.insert("bread.txt".to_owned(), format!("{}\n\n{}", paragraph("bread", 0), paragraph("jam", 2)));
    }
    std::fs::create_dir_all(folder).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, text) in files {
        // Long past, and another one for another text.
        let of_text =
            text.bytes().fold(17_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(of_text >> 3));
        std::fs::write(folder.join(&name), text).unwrap();
        std::fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(modified).unwrap();
    }
}

fn ids_by_source(points: &[Stored]) -> BTreeMap<&str, BTreeSet<Uuid>> {
    let mut ids: BTreeMap<&str, BTreeSet<Uuid>> = BTreeMap::new();
    for point in points {
        ids.entry(point.payload.source.as_str()).or_default().insert(point.id);
    }
    ids
}

/// There is nothing but what belongs to one version or the other.
fn check_written(points: &[Stored], one: &[Stored], other: &[Stored]) {
    for point in points {
        assert!(one.contains(point) || other.contains(point), "nobody wrote {point:?}");
    }
}

/// Of each document there is all of one version or of the other.
fn check_whole(points: &[Stored], one: &[Stored], other: &[Stored]) {
    let [now, one, other] = [points, one, other].map(ids_by_source);
    let none = BTreeSet::new();
    for source in one.keys().chain(other.keys()) {
        let [now, one, other] = [&now, &one, &other].map(|ids| ids.get(source).unwrap_or(&none));
        assert!(one.is_subset(now) || other.is_subset(now), "{source} is not whole");
    }
}

async fn points(place: &Place) -> Vec<Stored> {
    match place.store.collection(COLLECTION).await.unwrap() {
        Some(collection) => place.points_of(&collection.name).await,
        None => Vec::new(),
    }
}

/// Kills runs that index into an empty store.
async fn check_first_runs(is_qdrant: bool, n_kills: usize) {
    let mut scene = Scene::new(u64::from(is_qdrant));
    let versions = [false, true].map(|is_edited| Version { is_edited, cut: 0 });
    while scene.n_killed < n_kills {
        scene.renew(is_qdrant).await;
        let check = async |place: &Place, [clean, other]: [&Contents; 2]| {
            check_written(&points(place).await, &clean.points, &other.points);
        };
        scene.follow(versions, check).await;
    }
}

/// Kills runs that follow edits.
async fn check_edits(is_qdrant: bool, n_kills: usize) {
    let mut scene = Scene::new(2 + u64::from(is_qdrant));
    scene.renew(is_qdrant).await;
    let mut versions = [false, true].map(|is_edited| Version { is_edited, cut: 0 });
    scene.set(versions[0]);
    assert!(!scene.run_until(None).await);
    while scene.n_killed < n_kills {
        let other = *versions.iter().find(|version| **version != scene.version).unwrap();
        versions = [other, scene.version];
        let check = async |place: &Place, [clean, other]: [&Contents; 2]| {
            let points = points(place).await;
            check_written(&points, &clean.points, &other.points);
            check_whole(&points, &clean.points, &other.points);
        };
        scene.follow(versions, check).await;
    }
}

/// Kills runs that build another generation: readers see the old one whole, or the new one.
async fn check_rebuilds(is_qdrant: bool, n_kills: usize) {
    let mut scene = Scene::new(4 + u64::from(is_qdrant));
    scene.renew(is_qdrant).await;
    scene.set(Version { is_edited: false, cut: 0 });
    assert!(!scene.run_until(None).await);
    while scene.n_killed < n_kills {
        let before = points(&scene.read().await).await;
        let Version { is_edited, cut } = scene.version;
        // Both differ in how documents are cut from what serves.
        let versions = [1, 2].map(|more| Version { is_edited: !is_edited, cut: (cut + more) % 3 });
        let check = async |place: &Place, clean: [&Contents; 2]| {
            let points = points(place).await;
            let is_whole = points == before || clean.iter().any(|clean| points == clean.points);
            assert!(is_whole, "readers see a part");
        };
        scene.follow(versions, check).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_runs_that_are_killed_end_as_a_clean_one_in_the_embedded_store() {
    check_first_runs(false, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_runs_that_are_killed_end_as_a_clean_one_in_qdrant() {
    check_first_runs(true, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_after_edits_that_are_killed_end_as_a_clean_one_in_the_embedded_store() {
    check_edits(false, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_after_edits_that_are_killed_end_as_a_clean_one_in_qdrant() {
    check_edits(true, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_leaves_readers_a_whole_generation_in_the_embedded_store() {
    check_rebuilds(false, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_leaves_readers_a_whole_generation_in_qdrant() {
    check_rebuilds(true, 12).await;
}
