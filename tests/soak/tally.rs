//! How many requests of each kind ended how.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::answer::Ending;
use crate::request::{Form, Request};

/// What all clients saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    seen: Mutex<Seen>,
    /// One of the upstreams is well.
    shelter: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    /// While one upstream was well from the beginning to the end, and of the others.
    endings: [BTreeMap<Ending, u64>; 2],
    left: u64,
    /// Of requests that ended well.
    forms: BTreeMap<Form, u64>,
    shortened: u64,
    lists: u64,
    bulk: u64,
    texts: u64,
    /// Of requests with the text that nobody can embed.
    poisoned: BTreeMap<Ending, u64>,
}

impl Tally {
    /// Whether one of the upstreams is well at this moment.
    pub(crate) fn shelter(&self) -> &AtomicBool {
        &self.shelter
    }

    pub(crate) fn is_sheltered(&self) -> bool {
        self.shelter.load(Ordering::Relaxed)
    }

    /// `ending` is nothing where the client left before it was answered.
    pub(crate) fn count(&self, request: &Request, ending: Option<Ending>, is_sheltered: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ending) = ending else { return seen.left += 1 };
        if request.poison().is_some() {
            *seen.poisoned.entry(ending).or_default() += 1;
            return;
        }
        if ending == Ending::Right {
            *seen.forms.entry(request.form).or_default() += 1;
            seen.shortened += u64::from(request.dimensions.is_some());
            seen.lists += u64::from(1 < request.texts.len());
            seen.bulk += u64::from(request.is_bulk);
            seen.texts += request.texts.len() as u64;
        }
        *seen.endings[usize::from(!is_sheltered)].entry(ending).or_default() += 1;
    }

    /// A run that has not tried everything says little.
    #[track_caller]
    pub(crate) fn has_seen_all_kinds(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = [seen.left, seen.shortened, seen.lists, seen.bulk];
        assert!(seen.forms.len() == 3 && counts.iter().all(|count| 0 < *count), "{seen:#?}");
        let refused = Ending::Refused(502, "text_refused".to_owned());
        assert!(seen.poisoned.contains_key(&refused), "nobody was told of the text: {seen:#?}");
    }

    /// While one upstream is well, next to nobody hears of the others. Some do: a text that
    /// fails at two upstreams before they are ejected is taken for the reason itself.
    #[track_caller]
    pub(crate) fn answers_nearly_all_while_one_is_well(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u64 = seen.endings[0].values().sum();
        let right = seen.endings[0].get(&Ending::Right).copied().unwrap_or(0);
        assert!(all * 95 <= right * 100, "{seen:#?}");
    }

    #[expect(clippy::print_stderr, reason = "who lets it run for longer wants to know what it did")]
    pub(crate) fn tell(&self) {
        eprintln!("{:#?}", self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
