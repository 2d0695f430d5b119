//! What a guest sees of the world around it: nothing, and in each call the same.
//!
//! Components made from Python or JavaScript do not start without WASI, so there is
//! one, without files, sockets, environment or arguments. Its clocks stand still, and
//! each call draws the same random numbers, whatever its instance has drawn before.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_core::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

use super::Limits;
use super::state::Stderr;

/// A WASI in which nothing is granted. `dice` stays with whoever begins its calls.
pub(super) fn nothing_granted(limits: &Limits, output: &Stderr, dice: &Dice) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output.clone())
        .stderr(output.clone())
        .secure_random(dice.clone())
        .insecure_random(dice.clone())
        .insecure_random_seed(0x656d_6265_7267_6174_6500)
        .max_random_size(limits.output.as_u64())
        .wall_clock(StoppedClock)
        .monotonic_clock(StoppedClock)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Throws the numbers that a guest takes for random ones: always the same series.
#[derive(Clone, Default)]
pub(super) struct Dice {
    thrown: Arc<AtomicU64>,
}

impl Dice {
    /// Begins the series again.
    pub(super) fn begin(&self) {
        self.thrown.store(0, Ordering::Relaxed);
    }

    /// SplitMix64: each number is one of its place in the series.
    fn throw(&self) -> u64 {
        let place = self.thrown.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.throw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.throw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(8) {
            let len = part.len();
            part.copy_from_slice(&self.throw().to_le_bytes()[..len]);
        }
        Ok(())
    }
}

struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(dice: &Dice) -> [u8; 11] {
        let mut bytes = [0; 11];
        let Ok(()) = dice.clone().try_fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn numbers_differ_until_the_series_begins_again() {
        let dice = Dice::default();
        let (first, second) = (drawn(&dice), drawn(&dice));
        assert_ne!(first, second);
        dice.begin();
        assert_eq!([drawn(&dice), drawn(&dice)], [first, second]);
    }
}
