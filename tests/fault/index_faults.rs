//! What an indexer's peers and its machine do to it: a store that refuses,
//! an embedder that fails, files that change, a state or a store that is lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use embergate::index::{CollectionConfig, IndexError, IndexRequest, Outcome, Root};
use embergate::store;
use embergate_test_support::ollama::{self, OllamaSim};
use embergate_test_support::qdrant::{Fault, QdrantSim, When};
use futures_util::FutureExt;

use crate::index::{after, before, paragraph, paragraphs, write};
use crate::index_parts::{COLLECTION, Contents, Parts, Place, collection, qdrant, run, run_with};

const MODEL: &str = "static-embed-en-256";
const SIM: &str = "sim-embed";

/// Of chunks that have a paragraph each.
fn sim_collection() -> CollectionConfig {
    CollectionConfig { max_tokens: Some(60), ..collection(SIM) }
}

/// What one clean run over `folder` leaves.
async fn clean(parts: &Parts, folder: &Path) -> Contents {
    let sim = QdrantSim::spawn().await.unwrap();
    let place = Place::on(&sim).await;
    run(&parts.indexer(&place), folder).await.unwrap();
    place.contents().await
}

/// Lets every write of a run go wrong once; whether the run ends well all the same, and what it says.
async fn check_write(fault: Fault, ends_well: bool, told: &str) {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    after(folder.path());
    settle(folder.path());
    let want = clean(&parts, folder.path()).await;
    for n_writes in 0.. {
        let sim = QdrantSim::spawn().await.unwrap();
        let place = Place::on(&sim).await;
        before(folder.path());
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        after(folder.path());
        settle(folder.path());
        let n_before = sim.writes().len();
        sim.fail_write_after(n_writes, fault);
        let ended = run(&parts.indexer(&place), folder.path()).await;
        let was_reached = n_before + n_writes < sim.writes().len();
        sim.heal();
        if was_reached {
            assert_eq!(ended.is_ok(), ends_well, "write {n_writes}: {ended:?}");
        }
        if let Err(error) = ended {
            let error = in_full(&error);
            assert!(error.contains(told), "{error}");
            run(&parts.indexer(&place), folder.path()).await.unwrap();
        }
        place.contents().await.check(&want);
        if !was_reached {
            assert!(4 < n_writes, "a run of {n_writes} writes proves little");
            return;
        }
    }
}

/// An error and its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Gives all files a time that is long past, so that records do not depend on when they were read.
fn settle(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        set_modified(&entry.unwrap().path(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_qdrant_refuses_ends_the_run_and_the_next_one_mends_it() {
    check_write(Fault::Refused, false, "Wrong input").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_applied_and_timed_out_is_done_again() {
    check_write(Fault::WaitTimeout, true, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_done_again() {
    check_write(Fault::AnswerLost, true, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_in_the_middle_is_named() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    settle(folder.path());
    let sim = QdrantSim::spawn().await.unwrap();
    let place = Place::on(&sim).await;
    sim.fail_write_after(1, Fault::Unavailable);
    sim.fail_writes([Fault::Unavailable; 100]);
    let error = run(&parts.indexer(&place), folder.path()).await.unwrap_err();
    assert!(in_full(&error).contains(&format!("cannot reach Qdrant at `{}`", sim.url())), "{error}");
    sim.heal();
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    place.contents().await.check(&clean(&parts, folder.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_the_start_is_named_and_nothing_is_recorded() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    let sim = QdrantSim::spawn().await.unwrap();
    let (place, url) = (Place::on(&sim).await, sim.url());
    sim.stop().await;
    let error = run(&parts.indexer(&place), folder.path()).await.unwrap_err();
    assert!(in_full(&error).contains(&url), "{error}");
    assert_eq!(place.state.roots(COLLECTION).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_slow_is_waited_for() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    settle(folder.path());
    let want = clean(&parts, folder.path()).await;
    let sim = QdrantSim::spawn().await.unwrap();
    let place = Place::on(&sim).await;
    let (held, indexer) = (sim.hold(), parts.indexer(&place));
    let (ended, ()) = tokio::join!(run(&indexer, folder.path()), async {
        while sim.n_calls() == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
    });
    ended.unwrap();
    place.contents().await.check(&want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_given_up_and_made_again() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    settle(folder.path());
    let want = clean(&parts, folder.path()).await;
    for n_calls in [2, 4, 6] {
        let sim = QdrantSim::spawn().await.unwrap();
        let config = store::Config { timeout: Duration::from_millis(500), ..qdrant(&sim) };
        let place = Place::of(&config).await;
        let mut stalled = sim.stall(n_calls, When::After);
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        assert!(stalled.reached().now_or_never().is_some());
        place.contents().await.check(&want);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_embedded_costs_its_document_alone() {
    let sim = OllamaSim::start(&[(SIM, 8)]).await;
    let parts = Parts::new().await.with_ollama(&sim.url(), SIM);
    let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("rope.txt", paragraphs("rope", 0..2)), ("salt.txt", paragraphs("salt", 0..2))]);
    settle(folder.path());
    run_with(&parts.indexer(&place), folder.path(), sim_collection()).await.unwrap();
    let old = place.points().await;
    sim.fail_on(&paragraph("rope", 9), ollama::Fault::refused_nan());
    // The poisoned text, and one that another document has as well.
    write(
        folder.path(),
        &[
            ("bread.txt", paragraphs("bread", 0..2)),
            ("rope.txt", paragraphs("rope", [9, 7])),
            ("wool.txt", format!("{}\n\n{}", paragraph("wool", 1), paragraph("rope", 7))),
        ],
    );
    let (summary, outcomes) =
        run_with(&parts.indexer(&place), folder.path(), sim_collection()).await.unwrap();
    assert_eq!((summary.n_indexed, summary.n_failed), (2, 1), "{outcomes:?}");
    let Outcome::Failed(reason) = &outcomes[1].1 else { panic!("{outcomes:?}") };
    assert!(reason.contains("line 1"), "{reason}");
    let now = place.points().await;
    let is_there = |hit: &&embergate::store::Hit| now.iter().any(|other| other.id == hit.id);
    assert!(old.iter().all(|hit| is_there(&hit)), "it keeps what it had");
    sim.heal();
    // Another time than before: of the same size and the same time, it would be taken for the old one.
    set_modified(&folder.path().join("rope.txt"), SystemTime::UNIX_EPOCH);
    set_modified(&folder.path().join("bread.txt"), SystemTime::UNIX_EPOCH);
    set_modified(&folder.path().join("wool.txt"), SystemTime::UNIX_EPOCH);
    let parts = parts.with_ollama(&sim.url(), SIM);
    run_with(&parts.indexer(&place), folder.path(), sim_collection()).await.unwrap();
    let fresh = Place::new().await;
    run_with(&parts.indexer(&fresh), folder.path(), sim_collection()).await.unwrap();
    place.contents().await.check(&fresh.contents().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_that_fails_for_all_ends_the_run_after_some_batches() {
    let sim = OllamaSim::start(&[(SIM, 8)]).await;
    let parts = Parts::new().await.with_ollama(&sim.url(), SIM);
    let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
    for number in 0..40 {
        write(folder.path(), &[(&format!("{number}.txt"), paragraph("bread", number))]);
    }
    settle(folder.path());
    let indexer = parts.indexer(&place);
    indexer.embedder.dimensions(&embergate::model::ModelName::new(SIM).unwrap()).await.unwrap();
    sim.fail_always(ollama::Fault::crash());
    let mut n_failed = 0;
    let request =
        IndexRequest { roots: vec![Root::path(folder.path())], collection: sim_collection(), limit: None };
    let mut watcher = |event| {
        let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        if let embergate::index::Event::Finished { outcome, .. } = &event {
            n_failed += usize::from(is_failed(outcome));
        }
    };
    let error = indexer.run(request, &mut watcher).await.unwrap_err();
    assert!(matches!(error, IndexError::Embed(_)), "{error:?}");
    assert_eq!(n_failed, 6, "three batches of two documents");
    assert_eq!(place.count().await, 0);
    sim.heal();
    let parts = parts.with_ollama(&sim.url(), SIM);
    let (summary, _) = run_with(&parts.indexer(&place), folder.path(), sim_collection()).await.unwrap();
    assert_eq!((summary.n_indexed, summary.n_failed), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_that_is_busy_is_asked_again() {
    let sim = OllamaSim::start(&[(SIM, 8)]).await;
    let parts = Parts::new().await.with_ollama(&sim.url(), SIM);
    let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    sim.fail_next(std::iter::repeat_n(ollama::Fault::busy(), 2));
    let (summary, outcomes) =
        run_with(&parts.indexer(&place), folder.path(), sim_collection()).await.unwrap();
    assert_eq!((summary.n_indexed, summary.n_failed), (5, 0), "{outcomes:?}");
}

/// Writes another text of the same length with the same time, which lies in the future: the
/// clock was put back, or it ticks too slowly to tell the two apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_time_is_not_past_is_looked_into_each_time() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    let (path, future) = (folder.path().join("bread.txt"), SystemTime::now() + Duration::from_secs(3600));
    for (topic, n_indexed) in [("bread", 1), ("bread", 0), ("ropes", 1), ("ropes", 0)] {
        std::fs::write(&path, paragraph(topic, 1)).unwrap();
        set_modified(&path, future);
        let summary = run(&parts.indexer(&place), folder.path()).await.unwrap();
        assert_eq!(summary.n_indexed, n_indexed, "{topic}");
        assert!(place.payloads().await[0].text.contains(topic));
    }
}

/// A restored backup: the file is older than what was indexed of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_time_went_back_is_looked_into() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("bread.txt");
    for (topic, seconds) in [("bread", 1_000_000), ("ropes", 999_999), ("wools", 0)] {
        std::fs::write(&path, paragraph(topic, 1)).unwrap();
        set_modified(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        assert!(place.payloads().await[0].text.contains(topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_whole_or_fails_and_is_right_in_the_end() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    let (path, stop) = (folder.path().join("log.txt"), Arc::new(AtomicBool::new(false)));
    std::fs::write(&path, paragraph("bread", 0)).unwrap();
    let writer = std::thread::spawn({
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        move || {
            for number in 0.. {
                let size = path.metadata().unwrap().len();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let text =
                    if size < 1 << 20 { format!("\n\n{}", paragraph("rope", number)) } else { String::new() };
                let mut file = std::fs::File::options().append(true).open(&path).unwrap();
                std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            }
        }
    });
    let (_, outcomes) = run_with(&parts.indexer(&place), folder.path(), collection(MODEL)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    match &outcomes[0].1 {
        Outcome::Failed(reason) => assert_eq!(reason, "it changed each time it was read"),
        outcome => assert!(matches!(outcome, Outcome::Indexed(_)), "{outcome:?}"),
    }
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    let fresh = Place::new().await;
    run(&parts.indexer(&fresh), folder.path()).await.unwrap();
    assert_eq!(place.contents().await.points, fresh.contents().await.points);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_lost_is_made_of_what_the_store_has_and_nothing_is_embedded() {
    let (qdrant, ollama) = (QdrantSim::spawn().await.unwrap(), OllamaSim::start(&[(SIM, 8)]).await);
    let parts = Parts::new().await;
    let fresh = || parts.with_ollama(&ollama.url(), SIM);
    let (place, folder) = (Place::on(&qdrant).await, tempfile::tempdir().unwrap());
    before(folder.path());
    run_with(&fresh().indexer(&place), folder.path(), sim_collection()).await.unwrap();
    let place = Place::on(&qdrant).await;
    std::fs::remove_file(folder.path().join("gone.txt")).unwrap();
    std::fs::rename(folder.path().join("bread.txt"), folder.path().join("loaf.txt")).unwrap();
    settle(folder.path());
    let (summary, _) = run_with(&fresh().indexer(&place), folder.path(), sim_collection()).await.unwrap();
    assert_eq!((summary.n_embedded, summary.n_removed, summary.n_failed), (0, 2, 0));
    let (clean, sim) = (Place::new().await, fresh());
    run_with(&sim.indexer(&clean), folder.path(), sim_collection()).await.unwrap();
    place.contents().await.check(&clean.contents().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_is_filled_anew_whatever_the_state_says() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    settle(folder.path());
    let sim = QdrantSim::spawn().await.unwrap();
    let place = Place::on(&sim).await;
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    let generation = place.store.known(COLLECTION).await.unwrap().name;
    place.store.drop_collection(&generation).await.unwrap();
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    place.contents().await.check(&clean(&parts, folder.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_is_an_error_and_takes_nothing_with_it() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    let docs = folder.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    before(&docs);
    run(&parts.indexer(&place), &docs).await.unwrap();
    let want = place.contents().await;
    std::fs::rename(&docs, folder.path().join("elsewhere")).unwrap();
    let error = run(&parts.indexer(&place), &docs).await.unwrap_err();
    assert!(error.to_string().contains(docs.to_str().unwrap()), "{error}");
    // All that was ever given, where nothing is.
    let request = IndexRequest { roots: Vec::new(), collection: collection(MODEL), limit: None };
    let error = parts.indexer(&place).run(request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, IndexError::Gone { .. }), "{error:?}");
    place.contents().await.check(&want);
}
