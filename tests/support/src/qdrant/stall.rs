//! A call that is never answered, so that a test can end whoever waits for it.

use tokio::sync::watch;

use super::{Shared, State};

/// How far a call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing of it is done.
    Before,
    /// It is applied. Calls that only read are passed over.
    After,
}

/// Tells when the call has come.
#[derive(Debug)]
pub struct Stalled(watch::Receiver<bool>);

impl Stalled {
    /// Waits for the call.
    pub async fn reached(&mut self) {
        // Where another one is stalled instead, this one never is.
        if self.0.wait_for(|is_reached| *is_reached).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Which call it is.
pub(super) struct Stall {
    n_call: usize,
    when: When,
    reached: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn stall(&self, n: usize, when: When) -> Stalled {
        let (reached, receiver) = watch::channel(false);
        let mut state = self.lock();
        state.stall = Some(Stall { n_call: state.n_calls + n, when, reached });
        Stalled(receiver)
    }
}

impl State {
    /// Whether the call that is at this point is the one that stalls.
    pub(super) fn is_stalled(&self, when: When) -> bool {
        let Some(stall) = self.stall.as_ref().filter(|stall| stall.when == when) else { return false };
        let is_it = match when {
            When::Before => stall.n_call == self.n_calls,
            When::After => stall.n_call <= self.n_calls && !*stall.reached.borrow(),
        };
        if is_it {
            stall.reached.send_replace(true);
        }
        is_it
    }
}

/// Waits until the connection ends, where it should.
pub(super) async fn forever_if(is_stalled: bool) {
    if is_stalled {
        std::future::pending().await
    }
}
