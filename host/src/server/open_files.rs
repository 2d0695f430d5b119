//! The limit of open files: every connection is one, and systems begin with few.

/// Files that are open beside connections: standard streams, the log, the listeners,
/// the runtime's own, stores, plugins while they are read.
const SPARE: usize = 64;

/// Raises the soft limit of open files to what `n_connections` and `n_others` at once
/// need, as far as the hard limit allows.
///
/// Returns how many connections there may be. Where they are fewer, a warning says so:
/// to run out of files would keep everybody out, and to run out of places does not.
pub(super) fn allow(n_connections: usize, n_others: usize) -> usize {
    let others = n_others + SPARE;
    let needed = (n_connections + others) as u64;
    match raise(needed) {
        Ok(limit) if limit < needed => {
            let fewer = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(others).max(1);
            tracing::warn!(
                needed,
                limit,
                connections = fewer,
                "the system allows fewer open files than there may be connections, so fewer are taken: raise the \
                 hard limit (`ulimit -Hn`, systemd's LimitNOFILE=), or lower `server.max_connections`"
            );
            fewer
        }
        Ok(limit) => {
            tracing::debug!(needed, limit, "open files are allowed");
            n_connections
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, needed, "the limit of open files cannot be raised");
            n_connections
        }
    }
}

/// Returns the soft limit from now on.
#[cfg(unix)]
fn raise(needed: u64) -> std::io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < needed) else {
        return Ok(current.unwrap_or(u64::MAX));
    };
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    if current < raised {
        setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum })?;
    }
    Ok(raised)
}

#[cfg(not(unix))]
fn raise(needed: u64) -> std::io::Result<u64> {
    Ok(needed)
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn the_limit_goes_up_to_what_is_needed_and_what_does_not_fit_is_not_taken() {
        let before = getrlimit(Resource::Nofile);
        let low = before.current.map_or(512, |current| current.min(512));
        setrlimit(Resource::Nofile, Rlimit { current: Some(low), maximum: before.maximum }).unwrap();
        assert_eq!(raise(low - 1).unwrap(), low);
        assert_eq!(raise(low + 10).unwrap(), low + 10);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(low + 10));
        if let Some(maximum) = before.maximum {
            assert_eq!(raise(maximum + 1).unwrap(), maximum);
            let maximum = usize::try_from(maximum).unwrap();
            assert_eq!(allow(maximum, 10), maximum - SPARE - 10);
            assert_eq!((allow(1, maximum), allow(100, 10)), (1, 100));
        }
        setrlimit(Resource::Nofile, before).unwrap();
    }
}
