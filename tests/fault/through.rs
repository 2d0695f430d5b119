//! Embedding by another gateway, which is full, slow, gone, or none at all.

use std::sync::Arc;
use std::time::Duration;

use embergate::embed::{EmbedError, EmbedRequest, Embedder, Lane};
use embergate::index::{IndexError, Outcome, Served};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::Plugins;
use embergate::upstream::{TextFault, UpstreamError};
use embergate_test_support::ollama::OllamaSim;
use tokio::time::Instant;

use crate::bench::{self, DIMENSIONS, MODEL, assert_right, embedder, request};
use crate::far::{Far, Trouble};
use crate::index_parts::{Parts, Place, collection, run, run_with};

const EMBEDDED: &str = "static-embed-en-256";

/// An embedder that has nothing but the gateway at `url`.
fn through(url: &str, timeout: &str) -> Arc<Embedder> {
    let table = format!(
        "name = \"far\"\nkind = \"embergate\"\nurl = \"{url}\"\ntimeout = \"{timeout}\"\nmax_in_flight = 8"
    );
    Embedder::spawn(
        Default::default(),
        Vec::new(),
        vec![toml::from_str(&table).unwrap()],
        Default::default(),
        Default::default(),
        Arc::new(Plugins::none()),
    )
    .unwrap()
}

/// A gateway in front of a simulated Ollama, and one in front of that gateway.
async fn two() -> (OllamaSim, Far, Arc<Embedder>) {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let far = Far::start(embedder("ollama", &[sim.url()])).await;
    let near = through(&far.url(), "5s");
    (sim, far, near)
}

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|number| format!("text {number}")).collect()
}

fn bulk(texts: &[String]) -> EmbedRequest {
    let deadline = Instant::now() + Duration::from_secs(20);
    EmbedRequest::prepared(ModelName::new(MODEL).unwrap(), texts.to_vec(), Lane::Bulk, deadline)
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_work_goes_out_in_long_lists_that_say_what_they_are() {
    let (_sim, far, near) = two().await;
    let all = texts(1000);
    assert_right(&all, near.embed(bulk(&all)).await);
    let asked = far.asked();
    let mut sizes: Vec<usize> = asked.iter().map(|asked| asked.n_texts()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 1000, "each text once");
    sizes.sort_unstable();
    assert!(sizes[1..].iter().all(|n_texts| 100 <= *n_texts), "all but the last: {sizes:?}");
    let space = near.space(&ModelName::new(MODEL).unwrap(), Purpose::Document, true).await.unwrap();
    for list in &asked {
        assert_eq!(list.header("x-embergate-space"), Some(&*space));
        assert_eq!(list.header("x-embergate-prepared"), Some("true"));
        assert_eq!(list.header("x-embergate-purpose"), Some("document"));
        assert_eq!(list.header("x-embergate-lane"), Some("bulk"));
        assert_eq!(list.header("x-embergate-timeout-ms"), Some("5000"));
        assert_eq!(
            (&list.body["encoding_format"], &list.body["truncate"]),
            (&"base64".into(), &false.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_as_it_is_and_says_that_it_is_one() {
    let (_sim, far, near) = two().await;
    let question = EmbedRequest { purpose: Purpose::Query, truncate: true, ..request(&["kelp"]) };
    assert_right(&["kelp"], near.embed(question).await);
    let asked = far.asked();
    assert_eq!(asked[0].header("x-embergate-purpose"), Some("query"));
    assert_eq!((asked[0].header("x-embergate-prepared"), asked[0].header("x-embergate-lane")), (None, None));
    assert_eq!(asked[0].body["truncate"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_full_is_asked_again_when_it_says_so() {
    let (_sim, far, near) = two().await;
    let full = |status| {
        let headers = &[("retry-after", "1"), ("retry-after-ms", "30")];
        Trouble::Answer(status, headers, r#"{"error":{"message":"full","code":"rate_limit_exceeded"}}"#)
    };
    let before = Trouble::Answer(503, &[("retry-after", "0")], "<html>Service Unavailable</html>");
    far.trouble([full(429), full(429), before]);
    let all = texts(300);
    assert_right(&all, near.embed(bulk(&all)).await);
    let n_texts: usize = far.asked().iter().map(|asked| asked.n_texts()).sum();
    assert!(2 * 300 <= n_texts, "{n_texts} texts arrived, those of three lists twice");
    assert_eq!(near.upstreams()[0].errors, 0, "that it was full is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stays_full_is_busy_in_the_end() {
    let (_sim, far, _) = two().await;
    let near = through(&far.url(), "300ms");
    far.always(Some(Trouble::Answer(429, &[("retry-after-ms", "50")], "")));
    let error = near.embed(bulk(&texts(1))).await.unwrap_err();
    let EmbedError::Upstream(error) = error else { panic!("{error}") };
    assert!(matches!(&*error, UpstreamError::Busy { upstream } if upstream == "far"), "{error}");
    assert!((2..=8).contains(&far.asked().len()), "it was asked {} times in 300 ms", far.asked().len());
    far.always(None);
    assert_right(&texts(1), near.embed(bulk(&texts(1))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_waiting_does_not_lift_is_told_at_once() {
    let (_sim, far, near) = two().await;
    let limit = r#"{"error":{"message":"300 texts are more than `texts_per_minute` of the key"}}"#;
    far.always(Some(Trouble::Answer(429, &[("x-should-retry", "false")], limit)));
    let error = near.embed(bulk(&texts(1))).await.unwrap_err();
    assert!(error.to_string().contains("texts_per_minute"), "{error}");
    assert_eq!(far.asked().len(), 1);
    let key = r#"{"error":{"message":"the key lacks the right `index`","code":"insufficient_rights"}}"#;
    far.always(Some(Trouble::Answer(403, &[], key)));
    let error = near.embed(bulk(&texts(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "upstream `far` does not let this in: the key lacks the right `index`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_costs_nothing_but_a_second_try() {
    let (_sim, far, near) = two().await;
    far.trouble([Trouble::Close]);
    let all = texts(120);
    assert_right(&all, near.embed(bulk(&all)).await);
    assert!(2 <= far.asked().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_answer_in_time_is_told_by_name() {
    let (_sim, far, _) = two().await;
    let near = through(&far.url(), "300ms");
    near.embed(bulk(&["known".to_owned()])).await.unwrap();
    let held = far.hold();
    let error = near.embed(bulk(&texts(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "upstream `far` did not answer within 300ms");
    held.release();
    assert_right(&texts(1), near.embed(bulk(&texts(1))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_says_of_its_own_upstream_keeps_its_meaning() {
    let (sim, far, near) = two().await;
    near.embed(bulk(&["known".to_owned()])).await.unwrap();
    sim.crash().await;
    let error = near.embed(request(&["new"])).await.unwrap_err();
    assert_eq!(error.to_string(), "gateway `far` failed: cannot reach upstream `up-0`");
    assert_eq!(far.asked().len(), 2, "whoever waits is told at once");
    let all = texts(200);
    let back = async {
        // Two lists, and both of them again.
        while far.asked().len() < 2 + 2 + 2 {
            tokio::task::yield_now().await;
        }
        sim.come_back();
    };
    let (answer, ()) = tokio::join!(near.embed(bulk(&all)), back);
    assert_right(&all, answer);
    let unknown = ModelName::new("other").unwrap();
    let error = near.embed(EmbedRequest { model: unknown, ..request(&["kelp"]) }).await.unwrap_err();
    assert!(matches!(error, EmbedError::UnknownModel(_)), "{error}");
}

#[track_caller]
fn check_no_gateway(error: &EmbedError, want: &str) {
    let EmbedError::Upstream(error) = error else { panic!("{error}") };
    assert!(matches!(&**error, UpstreamError::NoGateway { .. }), "{error:?}");
    assert!(error.to_string().contains(want), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_gateway_is_told_from_one_of_another_time() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let error = through(&sim.url(), "5s").embed(bulk(&texts(1))).await.unwrap_err();
    check_no_gateway(&error, "is no gateway to work with: it speaks as Ollama 0.34.2 does");
    assert!(error.to_string().contains(&sim.url()), "{error}");

    let far = Far::start(embedder("ollama", &[sim.url()])).await;
    far.says(r#"{"embergate":"9.0.0","protocol":2}"#);
    let error = through(&far.url(), "5s").embed(bulk(&texts(1))).await.unwrap_err();
    check_no_gateway(&error, "it is Embergate 9.0.0 and speaks protocol 2");
    far.says("<html>welcome</html>");
    let error = through(&far.url(), "5s").embed(bulk(&texts(1))).await.unwrap_err();
    check_no_gateway(&error, "which other gateways cannot ask yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_the_gateway_refuses_fails_alone() {
    let far = Far::start(Parts::new().await.embedder).await;
    let near = through(&far.url(), "5s");
    let mut all = texts(40);
    all[7] = "\u{fffc}".to_owned();
    let mut asked = bulk(&all);
    asked.model = ModelName::new(EMBEDDED).unwrap();
    let error = near.embed(asked).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 7, fault: TextFault::NoKnownToken }), "{error}");
    let sizes: Vec<usize> = far.asked().iter().map(|asked| asked.n_texts()).collect();
    assert_eq!(sizes, [40, 39], "the others were asked for once again");
}

fn write(folder: &std::path::Path, names: &[&str], about: &str) {
    for name in names {
        let paragraphs = (0..4).map(|number| format!("Paragraph {number} of {name} is about {about}, the tide, the weather and bread; nobody remembers who wrote it down, or why it was kept."));
        std::fs::write(folder.join(name), paragraphs.collect::<Vec<_>>().join("\n\n")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_the_same_whoever_embeds_it() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &["a.txt", "b.md", "c.txt"], "kelp");
    let far = Far::start(Arc::clone(&parts.embedder)).await;
    let near = parts.with_embedder(through(&far.url(), "5s"));
    let place = Place::new().await;
    let first = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert!(0 < first.n_embedded);
    let again = run(&near.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((again.n_unchanged, again.n_embedded), (3, 0), "it is the same collection");
    assert_eq!(far.asked().len(), 0, "and nothing was asked");
    let other = Place::new().await;
    assert_eq!(run(&near.indexer(&other), folder.path()).await.unwrap(), first);
    let (here, there) = (place.points().await, other.points().await);
    assert_eq!(here, there, "to the bit");
    // And back: what was indexed there goes on here.
    write(folder.path(), &["a.txt"], "soup");
    let back = run(&parts.indexer(&other), folder.path()).await.unwrap();
    assert_eq!((back.n_unchanged, back.n_indexed), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_in_the_middle_takes_no_points_along() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}.txt")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    write(folder.path(), &names, "kelp");
    let far = Far::start(Arc::clone(&parts.embedder)).await;
    let near = parts.with_embedder(through(&far.url(), "5s"));
    let place = Place::new().await;
    let first = run(&near.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((first.n_indexed, first.n_failed), (20, 0));
    let before = place.payloads().await;
    write(folder.path(), &names[..2], "soup");
    far.crash().await;
    let (summary, outcomes) =
        run_with(&near.indexer(&place), folder.path(), collection(EMBEDDED)).await.unwrap();
    assert_eq!((summary.n_failed, summary.n_unchanged), (2, 18));
    assert!(
        matches!(&outcomes[0].1, Outcome::Failed(reason) if reason.contains("cannot reach upstream `far`"))
    );
    assert_eq!(place.payloads().await, before, "documents that fail keep what they had");
    write(folder.path(), &names, "soup");
    let ended = run(&near.indexer(&place), folder.path()).await.unwrap_err();
    assert!(matches!(ended, IndexError::Embed(EmbedError::Upstream(_))), "{ended}");
    assert_eq!(place.payloads().await, before, "and so they do where the run ends");
}

/// Another gateway takes the place of the one that was asked, with another prompt.
#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_a_model_that_changed_meanwhile_are_refused() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let behind = |prompt: &str| {
        let prompts = format!("[prompts]\nquery = \"\"\ndocument = \"{prompt}\"");
        bench::embedder_with("ollama", &[sim.url()], &prompts, Default::default()).unwrap()
    };
    let far = Far::start(behind("")).await;
    let near = through(&far.url(), "5s");
    assert_right(&texts(1), near.embed(bulk(&texts(1))).await);
    far.becomes(behind("passage: "));
    let error = near.embed(bulk(&["new".to_owned()])).await.unwrap_err();
    let EmbedError::Upstream(cause) = &error else { panic!("{error}") };
    assert!(matches!(&**cause, UpstreamError::OtherSpace { upstream, .. } if upstream == "far"), "{error}");
    assert!(sim.batches().iter().flatten().all(|text| text != "passage: new"), "it was not even embedded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_where_its_model_changes_and_mixes_nothing() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &["a.txt", "b.txt"], "kelp");
    let far = Far::start(Arc::clone(&parts.embedder)).await;
    let near = parts.with_embedder(through(&far.url(), "5s"));
    let place = Place::new().await;
    run(&near.indexer(&place), folder.path()).await.unwrap();
    let before = place.payloads().await;
    // Known to the one that asks, the gateway's model is another one from here on.
    far.becomes(parts.with_limit(500).embedder);
    write(folder.path(), &["a.txt"], "soup");
    let (summary, outcomes) =
        run_with(&near.indexer(&place), folder.path(), collection(EMBEDDED)).await.unwrap();
    assert_eq!((summary.n_failed, summary.n_unchanged), (1, 1));
    assert!(
        matches!(&outcomes[0].1, Outcome::Failed(reason) if reason.contains("gives other vectors")),
        "{outcomes:?}"
    );
    assert_eq!(place.payloads().await, before);
    let anew = parts.with_embedder(through(&far.url(), "5s"));
    let summary = run(&anew.indexer(&place), folder.path()).await.unwrap();
    assert_eq!(summary.served, Served::Instead("notes@1".to_owned()), "the next run sees another space");
    assert_eq!((summary.n_indexed, summary.n_copied), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_another_one_there_is_told_before_anything_is_written() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &["a.txt"], "kelp");
    let other = Parts::with_plugin("name = \"unicode\"\nconfig = { nfkc = true }").await;
    let far = Far::start(other.embedder).await;
    let near = parts.with_embedder(through(&far.url(), "5s"));
    let place = Place::new().await;
    let error = run(&near.indexer(&place), folder.path()).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, IndexError::PluginDiffers { .. }), "{told}");
    assert!(told.starts_with("plugin `unicode` is another one here than at the gateway"), "{told}");
    assert!(place.store.collections().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_the_gateways_own_word_for_word() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let prompts = "[prompts]\nquery = \"q: \"\ndocument = \"d: \"";
    let behind = bench::embedder_with("ollama", &[sim.url()], prompts, Default::default()).unwrap();
    let far = Far::start(Arc::clone(&behind)).await;
    let near = through(&far.url(), "5s");
    let model = ModelName::new(MODEL).unwrap();
    for purpose in [Purpose::Query, Purpose::Document, Purpose::None] {
        for prepared in [false, true] {
            let there = behind.space(&model, purpose, prepared).await.unwrap();
            assert_eq!(near.space(&model, purpose, prepared).await.unwrap(), there);
        }
    }
    let question = EmbedRequest { purpose: Purpose::Query, ..request(&["kelp"]) };
    let (ours, theirs) = (near.embed(question.clone()).await.unwrap(), behind.embed(question).await.unwrap());
    assert_eq!((ours.embeddings, ours.n_tokens), (theirs.embeddings, theirs.n_tokens));
    assert_eq!(sim.batches(), [["q: kelp"]], "the prompt was put there once, and the text embedded once");
}
