//! The queues of one model: texts that wait together may share a call.

use crate::batcher::Lease;
use crate::model::Purpose;

use super::request::Way;
use super::send::Senders;

/// Held for as long as the model is served.
pub(super) struct Queues {
    leases: Vec<Lease<Senders>>,
    /// A gateway is told of each call what its texts are for and whether they are prepared.
    by_way: bool,
}

/// Of texts that the upstream refuses when they are too long, and of those that it cuts.
const EXTENTS: [&str; 2] = ["whole", "cut"];
/// The same for each purpose, as they are and prepared.
const WAYS: [&str; 12] = [
    "query-whole",
    "query-cut",
    "query-prepared-whole",
    "query-prepared-cut",
    "document-whole",
    "document-cut",
    "document-prepared-whole",
    "document-prepared-cut",
    "none-whole",
    "none-cut",
    "none-prepared-whole",
    "none-prepared-cut",
];

impl Queues {
    /// `open` is told what is common to the texts of a queue, and how metrics call it. Where
    /// it is not `by_way`, texts are ready for the model, whatever they are for.
    pub(super) fn open(by_way: bool, open: impl Fn(&'static str, Way) -> Lease<Senders>) -> Self {
        let leases = match by_way {
            false => EXTENTS
                .iter()
                .zip([false, true])
                .map(|(name, truncate)| open(name, Way { purpose: Purpose::None, prepared: true, truncate }))
                .collect(),
            true => WAYS.iter().enumerate().map(|(at, name)| open(name, way_at(at))).collect(),
        };
        Self { leases, by_way }
    }

    /// The queue of texts that go so.
    pub(super) fn of(&self, way: Way) -> usize {
        let place = if self.by_way { place(way) } else { usize::from(way.truncate) };
        self.leases[place].index()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        self.leases.iter().map(Lease::index)
    }
}

fn place(way: Way) -> usize {
    let purpose = match way.purpose {
        Purpose::Query => 0,
        Purpose::Document => 1,
        Purpose::None => 2,
    };
    4 * purpose + 2 * usize::from(way.prepared) + usize::from(way.truncate)
}

fn way_at(place: usize) -> Way {
    let purpose = [Purpose::Query, Purpose::Document, Purpose::None][place / 4];
    Way { purpose, prepared: place % 4 / 2 == 1, truncate: place % 2 == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_queue_that_is_named_after_it() {
        for (at, name) in WAYS.iter().enumerate() {
            let way = way_at(at);
            assert_eq!(place(way), at);
            assert!(name.starts_with(way.purpose.as_str()), "{name}");
            assert_eq!(name.contains("prepared"), way.prepared, "{name}");
            assert!(name.ends_with(EXTENTS[usize::from(way.truncate)]), "{name}");
        }
    }
}
