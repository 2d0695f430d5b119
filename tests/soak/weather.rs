//! What goes wrong with the upstreams, and when: the same with the same seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embergate_test_support::ollama::{Fault, OllamaSim, Pace};

use crate::chance::Chance;
use crate::{DIMENSIONS, PERIOD, POISON};

/// How one upstream is for a while.
#[derive(Clone, Debug)]
enum Weather {
    Fine,
    /// Nobody listens.
    Gone,
    Slow,
    /// Some calls fail.
    OneIn(usize, Fault),
    /// All do, canaries too.
    Always(Fault),
}

/// Every kind of bad weather, each once.
fn kinds() -> Vec<Weather> {
    let wrong = Fault::Dimensions(DIMENSIONS / 2);
    let mut kinds = vec![Weather::Gone, Weather::Slow, Weather::OneIn(5, Fault::Hang)];
    let some =
        [Fault::crash(), Fault::Cut, Fault::Half, Fault::Nan, Fault::Short, Fault::busy(), wrong.clone()];
    kinds.extend(some.map(|fault| Weather::OneIn(5, fault)));
    let all = [Fault::Hang, Fault::crash(), Fault::internal(), Fault::Half, Fault::Nan, Fault::Zero];
    kinds.extend(all.map(Weather::Always));
    let all = [Fault::Short, Fault::Long, Fault::busy(), Fault::html(), wrong];
    kinds.extend(all.map(Weather::Always));
    kinds
}

/// Every kind at one upstream after the other, and now and then at two or all at once.
/// `shelter` is told whether one of them is well, and has been for long enough that the
/// gateway knows.
pub(crate) async fn change_until(
    end: Instant,
    sims: &[OllamaSim],
    chance: &mut Chance,
    shelter: &AtomicBool,
) {
    let mut coming = Vec::new();
    let mut n_fine = vec![0_u32; sims.len()];
    while Instant::now() < end {
        let n_bad = [1, 1, 2, 2, 3, 0][chance.below(6) as usize];
        let first = chance.below(sims.len() as u64) as usize;
        for at in 0..sims.len() {
            let index = (first + at) % sims.len();
            if coming.is_empty() {
                coming = kinds();
            }
            let weather = match at < n_bad {
                true => coming.swap_remove(chance.below(coming.len() as u64) as usize),
                false => Weather::Fine,
            };
            n_fine[index] = if at < n_bad { 0 } else { n_fine[index] + 1 };
            shelter.store(n_fine.iter().any(|n_periods| 1 < *n_periods), Ordering::Relaxed);
            change(&sims[index], weather).await;
        }
        tokio::time::sleep(PERIOD.min(end.saturating_duration_since(Instant::now()))).await;
    }
}

async fn change(sim: &OllamaSim, weather: Weather) {
    clear(sim);
    match weather {
        Weather::Fine => {}
        Weather::Gone => sim.crash().await,
        Weather::Slow => {
            let (call, text) = (Duration::from_millis(50), Duration::from_millis(10));
            sim.set_pace(Pace { call, text });
        }
        Weather::OneIn(every, fault) => sim.fail_every(every, fault),
        Weather::Always(fault) => sim.fail_always(fault),
    }
}

/// All is well from now on, but for the one text.
pub(crate) fn clear(sim: &OllamaSim) {
    sim.come_back();
    sim.heal();
    sim.set_pace(Pace::default());
    sim.fail_on(POISON, Fault::crash());
}
