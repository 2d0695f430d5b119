//! What the cache keeps, for how long, and in how much memory.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::*;

fn entry(n_numbers: usize) -> Entry {
    Entry {
        embedding: Embedding::new(vec![1.0; n_numbers]).unwrap(),
        n_tokens: 1,
        extent: Extent::Whole,
        detour: None,
    }
}

fn cache(max_bytes: u64) -> Cache {
    Cache::new(&Config { max_bytes: ByteSize::b(max_bytes), ..Config::default() })
}

fn key(shelf: &Shelf, text: &str) -> CacheKey {
    CacheKey::new(&Space::new(&["a"]), shelf.stamp(), text)
}

/// Runs `what` and returns the metrics that it left.
fn metrics_of(what: impl FnOnce(&PrometheusHandle)) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || what(&handle));
    handle.render()
}

fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[test]
fn a_text_is_found_in_its_own_space_only() {
    let cache = cache(1 << 20);
    let shelf = cache.shelf("m");
    let at = |space, text| CacheKey::new(&Space::new(&[space]), shelf.stamp(), text);
    cache.put(&shelf, at("a", "text"), entry(64));
    assert_eq!(cache.get(&at("a", "text")).unwrap().embedding, entry(64).embedding);
    assert!(cache.get(&at("b", "text")).is_none());
    assert!(cache.get(&at("a", "Text")).is_none());
    assert!(cache.get(&at("a", "text").of_a_part()).is_none());
}

#[test]
fn a_cache_of_no_bytes_is_off() {
    let cache = cache(0);
    let shelf = cache.shelf("m");
    cache.put(&shelf, key(&shelf, "text"), entry(64));
    assert!(cache.get(&key(&shelf, "text")).is_none());
    assert_eq!(cache.forget(None), Forgotten::default());
}

#[test]
fn one_model_is_forgotten_and_others_stay() {
    let cache = cache(1 << 20);
    let (a, b) = (cache.shelf("a"), cache.shelf("b"));
    for text in ["one", "two"] {
        cache.put(&a, key(&a, text), entry(64));
        cache.put(&b, key(&b, text), entry(64));
    }
    let n_bytes = 2 * u64::from(weight(&entry(64)));
    assert_eq!(cache.forget(Some("a")), Forgotten { n_entries: 2, n_bytes });
    assert!(cache.get(&key(&a, "one")).is_none());
    assert!(cache.get(&key(&b, "one")).is_some());
    assert_eq!(cache.forget(Some("a")), Forgotten::default());
    assert_eq!(cache.forget(None), Forgotten { n_entries: 2, n_bytes });
    assert!(cache.get(&key(&b, "one")).is_none());
}

#[test]
fn what_was_asked_for_before_a_model_was_forgotten_is_not_kept() {
    let cache = cache(1 << 20);
    let shelf = cache.shelf("m");
    let before = key(&shelf, "text");
    cache.forget(Some("m"));
    cache.put(&shelf, before, entry(64));
    assert!(cache.get(&before).is_none());
    assert!(cache.get(&key(&shelf, "text")).is_none());
    cache.put(&shelf, key(&shelf, "text"), entry(64));
    assert!(cache.get(&key(&shelf, "text")).is_some());
}

#[test]
fn memory_stays_within_its_bound_whatever_the_sizes() {
    const BOUND: u64 = 4 << 20;
    let metrics = metrics_of(|handle| {
        let cache = cache(BOUND);
        let shelf = cache.shelf("m");
        let sizes = [1, 4096, 64, 1024, 256, 2048, 16, 768];
        for number in 0..8_000_usize {
            let size = sizes[number.wrapping_mul(2_654_435_761) >> 7 & 7];
            cache.put(&shelf, key(&shelf, &number.to_string()), entry(size));
            // Some are asked for again, so that not only the oldest go.
            cache.get(&key(&shelf, &(number / 2).to_string()));
            if number % 16 == 0 {
                let bytes = metric(&handle.render(), "embergate_cache_bytes");
                assert!(bytes <= BOUND as f64 * 1.1, "{bytes} after {number}");
            }
        }
        cache.tidy();
        let bytes = metric(&handle.render(), "embergate_cache_bytes");
        let weighed = cache.entries.as_ref().unwrap().weighted_size() as f64;
        assert_eq!(bytes, weighed, "what came less what left is what is there");
        assert!(BOUND as f64 * 0.9 <= bytes && bytes <= BOUND as f64, "{bytes}");
    });
    assert!(0.0 < metric(&metrics, r#"embergate_cache_evictions_total{cause="size"}"#));
}

#[test]
fn entries_and_bytes_are_counted_as_they_come_and_go() {
    let metrics = metrics_of(|handle| {
        let cache = cache(1 << 20);
        let shelf = cache.shelf("m");
        cache.put(&shelf, key(&shelf, "one"), entry(64));
        cache.put(&shelf, key(&shelf, "two"), entry(64));
        cache.put(&shelf, key(&shelf, "two"), entry(128));
        let now = handle.render();
        assert_eq!(metric(&now, "embergate_cache_entries"), 2.0);
        let want = u64::from(weight(&entry(64)) + weight(&entry(128)));
        assert_eq!(metric(&now, "embergate_cache_bytes"), want as f64);
        cache.forget(None);
    });
    assert_eq!(metric(&metrics, "embergate_cache_entries"), 0.0);
    assert_eq!(metric(&metrics, "embergate_cache_bytes"), 0.0);
    assert_eq!(metric(&metrics, r#"embergate_cache_evictions_total{cause="deleted"}"#), 2.0);
    assert_eq!(metric(&metrics, r#"embergate_cache_evictions_total{cause="size"}"#), 0.0);
}

#[test]
fn what_nobody_asks_for_leaves_after_its_idle_time() {
    let metrics = metrics_of(|_| {
        let idle = Some(Duration::from_nanos(1));
        for (time_to_idle, stays) in [(None, true), (idle, false)] {
            let cache = Cache::new(&Config { time_to_idle, ..Config::default() });
            let shelf = cache.shelf("m");
            cache.put(&shelf, key(&shelf, "text"), entry(64));
            let put = std::time::Instant::now();
            while put.elapsed() < Duration::from_micros(10) {}
            assert_eq!(cache.get(&key(&shelf, "text")).is_some(), stays);
            cache.tidy();
        }
    });
    assert_eq!(metric(&metrics, r#"embergate_cache_evictions_total{cause="expired"}"#), 1.0);
}
