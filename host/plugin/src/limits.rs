//! What a call of a plugin may use: for all plugins, and for one.

use std::time::Duration;

use embergate_core::model::Purpose;
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
    /// In the place of `time` for a call on queries, where it is less.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub query_time: Option<Duration>,
    /// Instructions in the place of time, where `plugins.metering` counts them: for texts of up to
    /// 64 KiB together.
    pub fuel: u64,
    /// More of them for each further MiB.
    pub fuel_per_mib: u64,
    pub memory: ByteSize,
    /// Bytes that one call may answer with.
    pub output: ByteSize,
    pub table_elements: u32,
    /// Handles that a guest may hold.
    pub handles: u32,
    /// Lines that one call may write to the log.
    pub log_lines: u32,
    /// Bytes of its output that an error tells: the last ones.
    pub stderr: ByteSize,
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
            query_time: None,
            fuel: 2_000_000_000,
            fuel_per_mib: 4_000_000_000,
            memory: ByteSize::mib(256),
            output: ByteSize::mib(64),
            table_elements: 100_000,
            handles: 1_000,
            log_lines: 64,
            stderr: ByteSize::kib(2),
            instances: 8,
            uses: 10_000,
            wait: Duration::from_secs(30),
            embed_texts: 10_000,
            embed_passes: 4,
        }
    }
}

impl Limits {
    /// Time for a call on `n_bytes` of text that are for `purpose`.
    pub(super) fn time_for(&self, purpose: Purpose, n_bytes: usize) -> Duration {
        let time = match (purpose, self.query_time) {
            (Purpose::Query, Some(query_time)) => query_time.min(self.time),
            _ => self.time,
        };
        let more = self.time_per_mib.as_secs_f64() * further_mib(n_bytes);
        time.saturating_add(Duration::try_from_secs_f64(more).unwrap_or(Duration::MAX))
    }

    /// Instructions for a call on `n_bytes` of text.
    pub(super) fn fuel_for(&self, n_bytes: usize) -> u64 {
        // What is more than fits becomes as much as fits.
        self.fuel.saturating_add((self.fuel_per_mib as f64 * further_mib(n_bytes)) as u64)
    }
}

fn further_mib(n_bytes: usize) -> f64 {
    n_bytes.saturating_sub(SLICE_BYTES) as f64 / f64::from(1 << 20)
}

/// A `[plugin.limits]` table, as far as it differs from `[plugins.limits]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    #[serde(with = "humantime_serde::option")]
    pub time: Option<Duration>,
    #[serde(with = "humantime_serde::option")]
    pub time_per_mib: Option<Duration>,
    #[serde(with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub query_time: Option<Duration>,
    pub fuel: Option<u64>,
    pub fuel_per_mib: Option<u64>,
    pub memory: Option<ByteSize>,
    pub output: Option<ByteSize>,
    pub table_elements: Option<u32>,
    pub handles: Option<u32>,
    pub log_lines: Option<u32>,
    pub stderr: Option<ByteSize>,
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
            query_time: self.query_time.or(all.query_time),
            fuel: self.fuel.unwrap_or(all.fuel),
            fuel_per_mib: self.fuel_per_mib.unwrap_or(all.fuel_per_mib),
            memory: self.memory.unwrap_or(all.memory),
            output: self.output.unwrap_or(all.output),
            table_elements: self.table_elements.unwrap_or(all.table_elements),
            handles: self.handles.unwrap_or(all.handles),
            log_lines: self.log_lines.unwrap_or(all.log_lines),
            stderr: self.stderr.unwrap_or(all.stderr),
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
            query_time: limits.query_time,
            fuel: Some(limits.fuel),
            fuel_per_mib: Some(limits.fuel_per_mib),
            memory: Some(limits.memory),
            output: Some(limits.output),
            table_elements: Some(limits.table_elements),
            handles: Some(limits.handles),
            log_lines: Some(limits.log_lines),
            stderr: Some(limits.stderr),
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

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[track_caller]
    fn check_time(query_time: Option<u64>, (purpose, n_mib): (Purpose, usize), want: u64) {
        let limits = Limits {
            time: seconds(4),
            time_per_mib: seconds(3),
            query_time: query_time.map(seconds),
            ..Limits::default()
        };
        assert_eq!(limits.time_for(purpose, SLICE_BYTES + (n_mib << 20)), seconds(want));
    }

    #[test]
    fn a_call_has_time_by_purpose_and_size() {
        check_time(Some(1), (Purpose::Document, 0), 4);
        check_time(Some(1), (Purpose::Document, 2), 10);
        check_time(Some(1), (Purpose::None, 0), 4);
        check_time(Some(1), (Purpose::Query, 0), 1);
        check_time(Some(1), (Purpose::Query, 2), 7);
        check_time(None, (Purpose::Query, 0), 4);
    }

    #[test]
    fn queries_never_have_more_time_than_documents() {
        check_time(Some(9), (Purpose::Query, 0), 4);
    }

    #[test]
    fn instructions_grow_with_the_size_and_end_at_what_there_is() {
        let limits = Limits { fuel: 5, fuel_per_mib: 3, ..Limits::default() };
        assert_eq!(limits.fuel_for(10), 5);
        assert_eq!(limits.fuel_for(SLICE_BYTES + (2 << 20)), 11);
        let limits = Limits { fuel_per_mib: u64::MAX, ..limits };
        assert_eq!(limits.fuel_for(SLICE_BYTES + (2 << 20)), u64::MAX);
    }

    #[test]
    fn what_a_plugin_leaves_out_is_as_for_all() {
        let all = Limits { memory: ByteSize::mib(512), uses: 7, ..Limits::default() };
        let own = OwnLimits { uses: Some(9), ..OwnLimits::default() };
        let limits = own.over(&all);
        assert_eq!((limits.memory, limits.uses), (ByteSize::mib(512), 9));
    }
}
