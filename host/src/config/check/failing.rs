//! What is said of plugins that fail: when they are taken out of service, and what stands in.

use super::{Config, Faults};
use crate::index::CollectionConfig;
use crate::plugin::{BreakerConfig, OnError, PluginConfig};

/// Failures that the breaker of a plugin remembers, at most.
const MAX_FAILURES: u32 = 10_000;

impl Faults {
    pub(super) fn breaker(&mut self, breaker: &BreakerConfig) {
        let BreakerConfig { max_failures, window, pause, max_pause } = breaker;
        for (path, time) in [("plugins.breaker.window", window), ("plugins.breaker.pause", pause)] {
            self.bound(path, path, time.as_nanos() as u64);
        }
        if max_pause < pause {
            let message = format!(
                "`max_pause` in [plugins.breaker] is {max_pause:?}, less than the {pause:?} of `pause`"
            );
            self.add("plugins.breaker.max_pause", message, "raise it, or lower `pause`");
        }
        if MAX_FAILURES < *max_failures {
            let message = format!("`max_failures = {max_failures}` in [plugins.breaker] is too much");
            let remedy = format!(
                "set it to {MAX_FAILURES} or less, or to 0 to keep plugins in service whatever they do"
            );
            self.add("plugins.breaker.max_failures", message, remedy);
        }
    }

    /// What only those who load the plugin know is left to them.
    pub(super) fn on_error(&mut self, config: &Config, at: usize, plugin: &PluginConfig) {
        let (name, path) = (&plugin.name, format!("plugin.{at}.on_error"));
        match &plugin.on_error {
            OnError::Fail => {}
            OnError::Fallback(fallback) if fallback == name => {
                let message = format!("plugin `{name}` cannot be its own fallback");
                self.add(path, message, "name another plugin, or write \"fail\" or \"skip\"");
            }
            OnError::Fallback(_) => {}
            OnError::Skip => {
                let cuts = |collection: &&CollectionConfig| {
                    collection.rules.iter().any(|rule| rule.chunker == *name)
                };
                if let Some(collection) = config.collections.iter().find(cuts) {
                    let message = format!(
                        "plugin `{name}` cuts the documents of collection `{}`, and a chunker cannot be skipped",
                        collection.name
                    );
                    self.add(path, message, "write \"fail\", or \"fallback:NAME\" with another chunker");
                }
            }
        }
    }
}
