//! How a guest that does not end is interrupted: by the clock, or by counting what it does.

use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wasmtime::Store;

use super::state::{State, on_tick};

/// Instructions after which a guest that is counted lets other tasks run: about a millisecond.
const FUEL_SLICE: u64 = 1_000_000;

/// `metering` in the `[plugins]` table; the same for all plugins, because it is compiled into them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metering {
    /// A guest looks at the time whenever a clock ticks. Costs the least.
    #[default]
    Epoch,
    /// A guest counts its instructions: it is stopped at the same one on any machine.
    Fuel,
    /// It is never interrupted. Cannot be configured: it is what the others are measured by.
    #[serde(skip)]
    None,
}

impl Metering {
    /// Compiles into guests what it takes to interrupt them.
    pub(super) fn configure(self, config: &mut wasmtime::Config) {
        config.epoch_interruption(self == Self::Epoch).consume_fuel(self == Self::Fuel);
    }

    /// Sets up a new store, which has to be armed before a guest runs in it.
    pub(super) fn prepare(self, store: &mut Store<State>) -> wasmtime::Result<()> {
        match self {
            Self::Epoch => store.epoch_deadline_callback(on_tick),
            Self::Fuel => store.fuel_async_yield_interval(Some(FUEL_SLICE))?,
            Self::None => {}
        }
        Ok(())
    }

    /// Readies `store` for a call that may run `fuel` instructions.
    pub(super) fn arm(self, store: &mut Store<State>, fuel: u64) -> wasmtime::Result<()> {
        match self {
            Self::Epoch => store.set_epoch_deadline(1),
            Self::Fuel => store.set_fuel(fuel)?,
            Self::None => {}
        }
        Ok(())
    }
}

/// A call was not done at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

/// Runs `call` until `deadline`.
///
/// Most calls never wait, and cost no timer. One that waits is given up by the timer. While one
/// `is_interrupted` by the clock it is not: it is left to end itself where it looks at the clock
/// next, because that tells which functions it was in.
pub(super) async fn within<T>(
    deadline: Instant,
    is_interrupted: impl Fn() -> bool,
    call: impl Future<Output = T>,
) -> Result<T, Late> {
    let mut call = pin!(call);
    let mut timer = None;
    std::future::poll_fn(move |context| {
        if timer.is_some() && deadline <= Instant::now() && !is_interrupted() {
            return Poll::Ready(Err(Late));
        }
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if !is_interrupted() {
            return Poll::Ready(Err(Late));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_is_done_after_its_deadline_too() {
        assert_eq!(within(Instant::now(), || false, async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_is_given_up() {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let waits = std::future::pending::<()>();
        assert_eq!(within(deadline.into_std(), || false, waits).await, Err(Late));
        assert_eq!(tokio::time::Instant::now().duration_since(deadline).as_secs(), 0);
    }

    #[tokio::test]
    async fn what_only_lets_others_run_is_given_up() {
        let deadline = Instant::now() + Duration::from_millis(5);
        let restless = async {
            loop {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(within::<()>(deadline, || false, restless).await, Err(Late));
    }

    #[tokio::test]
    async fn what_the_clock_has_interrupted_ends_by_itself() {
        let deadline = Instant::now() + Duration::from_millis(5);
        let is_interrupted = Cell::new(true);
        let looks_at_the_clock = async {
            while Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            7
        };
        assert_eq!(within(deadline, || is_interrupted.get(), looks_at_the_clock).await, Ok(7));
        let then_waits = async {
            tokio::task::yield_now().await;
            is_interrupted.set(false);
            std::future::pending::<()>().await;
        };
        assert_eq!(within(deadline, || is_interrupted.get(), then_waits).await, Err(Late));
    }
}
