//! Texts that cannot be embedded, whoever is asked: remembered for a while, so that a
//! text that crashes servers does not crash them each time it comes.

use std::time::Duration;

use super::{CacheKey, Config, MAX_TIME, Shelf};

/// Why texts were refused, by their keys.
pub struct Refusals<F: Clone + Send + Sync + 'static> {
    /// Nothing where none are remembered.
    faults: Option<moka::sync::Cache<CacheKey, F>>,
}

impl<F: Clone + Send + Sync + 'static> Refusals<F> {
    pub fn new(config: &Config) -> Self {
        let on = Duration::ZERO < config.remember_refused && 0 < config.max_refused;
        let faults = on.then(|| {
            moka::sync::Cache::builder()
                .max_capacity(config.max_refused)
                .time_to_live(config.remember_refused.min(MAX_TIME))
                .build()
        });
        Self { faults }
    }

    pub fn get(&self, key: &CacheKey) -> Option<F> {
        self.faults.as_ref()?.get(key)
    }

    /// Remembers a text, unless what its model had was thrown away since it was asked for.
    pub fn put(&self, shelf: &Shelf, key: CacheKey, fault: F) {
        if let Some(faults) = self.faults.as_ref().filter(|_| !shelf.has_ended(key.stamp)) {
            faults.insert(key, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, Space};

    const FAULT: &str = "it crashes servers";

    fn refusals(config: &Config) -> Refusals<&'static str> {
        Refusals::new(config)
    }

    #[test]
    fn a_text_is_remembered_by_its_own_key_until_its_model_is_forgotten() {
        let config = Config::default();
        let (cache, refusals) = (Cache::new(&config), refusals(&config));
        let shelf = cache.shelf("m");
        let key = |text| CacheKey::new(&Space::new(&[]), shelf.stamp(), text);
        let before = key("bad");
        refusals.put(&shelf, before, FAULT);
        assert_eq!(refusals.get(&key("bad")), Some(FAULT));
        assert_eq!(refusals.get(&key("good")), None);
        cache.forget(Some("m"));
        assert_eq!(refusals.get(&key("bad")), None);
        // What was asked before and is answered now is of no use to anybody.
        refusals.put(&shelf, before, FAULT);
        assert_eq!(refusals.get(&key("bad")), None);
    }

    #[test]
    fn no_more_are_remembered_than_allowed() {
        let refusals = refusals(&Config { max_refused: 10, ..Config::default() });
        let shelf = Cache::new(&Config::default()).shelf("m");
        for number in 0..1000 {
            let key = CacheKey::new(&Space::new(&[]), shelf.stamp(), &number.to_string());
            refusals.put(&shelf, key, FAULT);
        }
        let faults = refusals.faults.as_ref().unwrap();
        faults.run_pending_tasks();
        assert!(faults.entry_count() <= 10, "{}", faults.entry_count());
    }

    #[test]
    fn without_time_or_room_none_is_remembered() {
        for config in [
            Config { remember_refused: Duration::ZERO, ..Config::default() },
            Config { max_refused: 0, ..Config::default() },
        ] {
            let refusals = refusals(&config);
            let shelf = Cache::new(&config).shelf("m");
            let key = CacheKey::new(&Space::new(&[]), shelf.stamp(), "bad");
            refusals.put(&shelf, key, FAULT);
            assert_eq!(refusals.get(&key), None);
        }
    }
}
