//! What a call of a plugin may use: for all plugins, and for one.

use std::time::Duration;

use embergate_core::units::ByteSize;
use serde::{Deserialize, Serialize};

use super::imports::SLICE_BYTES;

/// What a call may use. The `[plugins.limits]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Time for a call on texts of up to 64 KiB together.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
    /// More time for each further MiB.
    #[serde(with = "humantime_serde")]
    pub time_per_mib: Duration,
    pub memory: ByteSize,
    /// Bytes that one call may answer with.
    pub output: ByteSize,
    pub table_elements: u32,
    /// Handles that a guest may hold.
    pub handles: u32,
    /// Lines that one call may write to the log.
    pub log_lines: u32,
    /// Instances of one plugin, at most.
    pub instances: usize,
    /// Calls after which an instance is retired.
    pub uses: u32,
    /// How long a call waits for an instance, and one on more than 64 KiB for its turn.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// Texts that one call may have embedded.
    pub embed_texts: u32,
    /// How many times over one call may have its documents embedded; 64 KiB it always may.
    pub embed_passes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            time_per_mib: Duration::from_secs(2),
            memory: ByteSize::mib(256),
            output: ByteSize::mib(64),
            table_elements: 100_000,
            handles: 1_000,
            log_lines: 64,
            instances: 8,
            uses: 10_000,
            wait: Duration::from_secs(30),
            embed_texts: 10_000,
            embed_passes: 4,
        }
    }
}

impl Limits {
    /// Time for a call on `n_bytes` of text.
    pub(super) fn time_for(&self, n_bytes: usize) -> Duration {
        let more = n_bytes.saturating_sub(SLICE_BYTES) as f64 / f64::from(1 << 20);
        self.time.saturating_add(
            Duration::try_from_secs_f64(self.time_per_mib.as_secs_f64() * more).unwrap_or(Duration::MAX),
        )
    }
}

/// A `[plugin.limits]` table, as far as it differs from `[plugins.limits]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    #[serde(with = "humantime_serde::option")]
    pub time: Option<Duration>,
    #[serde(with = "humantime_serde::option")]
    pub time_per_mib: Option<Duration>,
    pub memory: Option<ByteSize>,
    pub output: Option<ByteSize>,
    pub table_elements: Option<u32>,
    pub handles: Option<u32>,
    pub log_lines: Option<u32>,
    pub instances: Option<usize>,
    pub uses: Option<u32>,
    #[serde(with = "humantime_serde::option")]
    pub wait: Option<Duration>,
    pub embed_texts: Option<u32>,
    pub embed_passes: Option<u32>,
}

impl OwnLimits {
    /// The limits of the plugin, where those of all plugins are `all`.
    pub fn over(&self, all: &Limits) -> Limits {
        Limits {
            time: self.time.unwrap_or(all.time),
            time_per_mib: self.time_per_mib.unwrap_or(all.time_per_mib),
            memory: self.memory.unwrap_or(all.memory),
            output: self.output.unwrap_or(all.output),
            table_elements: self.table_elements.unwrap_or(all.table_elements),
            handles: self.handles.unwrap_or(all.handles),
            log_lines: self.log_lines.unwrap_or(all.log_lines),
            instances: self.instances.unwrap_or(all.instances),
            uses: self.uses.unwrap_or(all.uses),
            wait: self.wait.unwrap_or(all.wait),
            embed_texts: self.embed_texts.unwrap_or(all.embed_texts),
            embed_passes: self.embed_passes.unwrap_or(all.embed_passes),
        }
    }
}

/// With nothing left out.
impl From<Limits> for OwnLimits {
    fn from(limits: Limits) -> Self {
        Self {
            time: Some(limits.time),
            time_per_mib: Some(limits.time_per_mib),
            memory: Some(limits.memory),
            output: Some(limits.output),
            table_elements: Some(limits.table_elements),
            handles: Some(limits.handles),
            log_lines: Some(limits.log_lines),
            instances: Some(limits.instances),
            uses: Some(limits.uses),
            wait: Some(limits.wait),
            embed_texts: Some(limits.embed_texts),
            embed_passes: Some(limits.embed_passes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_leaves_out_is_as_for_all() {
        let all = Limits { memory: ByteSize::mib(512), uses: 7, ..Limits::default() };
        let own = OwnLimits { uses: Some(9), ..OwnLimits::default() };
        let limits = own.over(&all);
        assert_eq!((limits.memory, limits.uses), (ByteSize::mib(512), 9));
    }
}
