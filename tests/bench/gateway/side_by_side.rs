//! Two servers under the same load in turns, so that a machine that changes favours none.

use std::time::Duration;

use embergate_load::{Load, Report, Source};

use crate::servers::Server;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_secs(2);

/// What is sent to one server: in the second before with every vector checked, then as fast as may be.
pub(crate) struct Asked<'s> {
    pub(crate) server: &'s Server,
    pub(crate) checked: Source,
    pub(crate) measured: Source,
}

/// What one server did in all its turns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) per_second: f64,
    /// The mean of the turns' medians, in milliseconds.
    pub(crate) p50: f64,
}

/// A load of `connections` for as long as nothing else is said.
pub(crate) fn load(server: &Server, connections: usize, duration: Duration) -> Load {
    Load { address: server.address, connections, duration, patience: PATIENCE }
}

/// The report, if nothing went wrong.
pub(crate) fn sound(report: Report) -> Result<Report, String> {
    if 0 < report.failed() { Err(format!("requests failed: {report}")) } else { Ok(report) }
}

/// Loads both, in the order A B B A.
pub(crate) async fn in_turns(
    a: &Asked<'_>,
    b: &Asked<'_>,
    connections: usize,
) -> Result<(Pace, Pace), String> {
    for asked in [a, b] {
        warm_up(asked, connections).await?;
    }
    let turn =
        async |asked: &Asked<'_>| sound(load(asked.server, connections, TURN).closed(&asked.measured).await);
    let (a1, b1, b2, a2) = (turn(a).await?, turn(b).await?, turn(b).await?, turn(a).await?);
    Ok((Pace::of(&[a1, a2]), Pace::of(&[b1, b2])))
}

/// Loads one of them alone, as long as both would take.
pub(crate) async fn alone(asked: &Asked<'_>, connections: usize) -> Result<Pace, String> {
    warm_up(asked, connections).await?;
    let report = load(asked.server, connections, 2 * TURN).closed(&asked.measured).await;
    Ok(Pace::of(&[sound(report)?]))
}

/// A second in which every vector is checked.
pub(crate) async fn warm_up(asked: &Asked<'_>, connections: usize) -> Result<(), String> {
    sound(load(asked.server, connections, WARM_UP).closed(&asked.checked).await).map(drop)
}

impl Pace {
    fn of(turns: &[Report]) -> Self {
        let seconds: f64 = turns.iter().map(|turn| turn.seconds).sum();
        let answers: f64 = turns.iter().map(|turn| turn.per_second * turn.seconds).sum();
        let p50: f64 = turns.iter().map(|turn| turn.p50_ms).sum();
        Self { per_second: answers / seconds, p50: p50 / turns.len() as f64 }
    }
}
