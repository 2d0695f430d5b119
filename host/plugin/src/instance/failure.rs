//! How an instance came to its end, and what that means.

use std::time::Duration;

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use super::Instance;
use crate::bindings::embergate::plugin::types;
use crate::inside::Inside;
use crate::load::Fault;
use crate::{LimitMet, Limits, words};

/// What a call may use that depends on its texts.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    pub(super) time: Duration,
    /// Instructions, where they are counted.
    pub(super) fuel: u64,
}

/// How an instance came to its end.
pub(super) enum Failure {
    /// It met a limit of ours.
    Stopped {
        limit: LimitMet,
        inside: Option<Box<Inside>>,
    },
    Trapped {
        reason: String,
        inside: Option<Box<Inside>>,
    },
}

/// Why there is no instance.
pub(super) enum StartError {
    Refused(types::Error),
    Failed(Failure),
}

impl StartError {
    /// What kept it from being set up.
    pub(super) fn of(error: &wasmtime::Error) -> Self {
        let reason = words::sentence(&error.root_cause().to_string());
        Self::Failed(Failure::Trapped { reason, inside: None })
    }

    /// In words that follow the file's name.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Refused(types::Error::InvalidConfig(why)) => {
                format!("it refuses its configuration: {}", words::sentence(&why)).into()
            }
            Self::Refused(error) => format!("it refuses to start: {}", message(error)).into(),
            Self::Failed(Failure::Stopped { limit, inside }) => {
                Fault { reason: format!("it fails to start: {limit}"), inside }
            }
            Self::Failed(Failure::Trapped { reason, inside }) => {
                Fault { reason: format!("it fails to start: {reason}"), inside }
            }
        }
    }
}

impl Instance {
    /// What `error` means to a call that may use what is `allowed`.
    pub(super) fn failure(&self, error: &wasmtime::Error, allowed: Allowed, limits: &Limits) -> Failure {
        let state = self.store.data();
        let inside = Inside::of(error, state.stderr.text()).map(Box::new);
        match self.limit_met(error, allowed, limits) {
            Some(limit) => Failure::Stopped { limit, inside },
            None => Failure::Trapped { reason: words::sentence(&error.root_cause().to_string()), inside },
        }
    }

    /// It waits, and no code of its own runs that could be interrupted.
    pub(super) fn overdue(&self, allowed: Allowed, limits: &Limits) -> Failure {
        let inside = Inside::new(Vec::new(), self.store.data().stderr.text()).map(Box::new);
        Failure::Stopped { limit: over_time(allowed.time, limits), inside }
    }

    fn limit_met(&self, error: &wasmtime::Error, allowed: Allowed, limits: &Limits) -> Option<LimitMet> {
        match error.downcast_ref() {
            Some(Trap::Interrupt) => return Some(over_time(allowed.time, limits)),
            Some(Trap::OutOfFuel) => return Some(out_of_fuel(allowed.fuel, limits)),
            _ => {}
        }
        if let Some(limit) = &self.store.data().budget.denied {
            return Some(limit.clone());
        }
        // Wasmtime has no type for this error.
        if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
            let how = format!("it handed over more than {}", limits.output);
            return Some(LimitMet { key: "output", how });
        }
        too_many_handles(error).then(|| {
            let how = format!("it wanted to hold more than {} handles", limits.handles);
            LimitMet { key: "handles", how }
        })
    }
}

/// Handles of the gateway's things are in one table, those of the guest's own in another.
fn too_many_handles(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().contains("store handle limit exceeded")
}

fn over_time(time: Duration, limits: &Limits) -> LimitMet {
    let (key, of) = if time < limits.time {
        ("query_time", " on queries")
    } else if limits.time < time {
        ("time_per_mib", " on so much text")
    } else {
        ("time", "")
    };
    LimitMet { key, how: format!("a call{of} may take {time:?}") }
}

fn out_of_fuel(fuel: u64, limits: &Limits) -> LimitMet {
    let (key, of) = if limits.fuel < fuel { ("fuel_per_mib", " on so much text") } else { ("fuel", "") };
    LimitMet { key, how: format!("a call{of} may run {fuel} instructions") }
}

pub(super) fn message(error: types::Error) -> String {
    let (kind, why) = match error {
        types::Error::InvalidInput(why) => ("invalid input", why),
        types::Error::InvalidConfig(why) => ("invalid configuration", why),
        types::Error::Unsupported(why) => ("unsupported", why),
        types::Error::Unavailable(why) => ("unavailable", why),
        types::Error::Internal(why) => ("internal error", why),
    };
    format!("{kind}: {}", words::sentence(&why))
}
