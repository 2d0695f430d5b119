//! The spaces of one model: hashed once, looked at by every request.

use arc_swap::ArcSwapOption;

use super::request::Way;
use crate::cache::Space;
use crate::model::Purpose;

/// By what texts are for, and whether they are prepared.
#[derive(Default)]
pub(super) struct Spaces([ArcSwapOption<Known>; 6]);

struct Known {
    /// What the model was when the space was hashed.
    identity: String,
    space: Space,
}

impl Spaces {
    /// The space of `way` in the model that is `identity` now; `hash` makes it where it is not known.
    pub(super) fn of(&self, identity: &str, way: Way, hash: impl FnOnce() -> Space) -> Space {
        let place = &self.0[place(way)];
        if let Some(known) = place.load().as_deref().filter(|known| known.identity == identity) {
            return known.space;
        }
        let space = hash();
        place.store(Some(Known { identity: identity.to_owned(), space }.into()));
        space
    }
}

fn place(way: Way) -> usize {
    let purpose = match way.purpose {
        Purpose::Query => 0,
        Purpose::Document => 1,
        Purpose::None => 2,
    };
    2 * purpose + usize::from(way.prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_hashed_once_for_each_way_and_again_for_another_model() {
        let spaces = Spaces::default();
        let mut n_hashed = 0;
        let mut of = |identity: &str, way| {
            spaces.of(identity, way, || {
                n_hashed += 1;
                Space::new(&[identity, &place(way).to_string()])
            })
        };
        let mut found = Vec::new();
        for _ in 0..2 {
            for purpose in [Purpose::Query, Purpose::Document, Purpose::None] {
                for prepared in [false, true] {
                    let way = Way { purpose, prepared, truncate: false };
                    found.push(of("a", way));
                    assert_eq!(of("a", Way { truncate: true, ..way }), of("a", way));
                }
            }
        }
        assert_eq!(found[..6], found[6..]);
        assert!((1..6).all(|at| !found[..at].contains(&found[at])));
        let way = Way { purpose: Purpose::Query, prepared: false, truncate: false };
        assert_ne!(of("b", way), of("a", way));
        assert_eq!(n_hashed, 8);
    }
}
