//! Maps hold for all texts and all chains of patches.

use proptest::prelude::*;

use super::*;

/// A text of `n` bytes and patches made from cuts, which may touch each other and be empty.
fn edits(n: usize) -> impl Strategy<Value = Vec<Patch>> {
    let cuts = proptest::collection::vec((0..=n, "[A-Z]{0,4}"), 0..8);
    cuts.prop_map(|mut cuts| {
        cuts.sort();
        let pairs = cuts.chunks_exact(2);
        pairs.map(|pair| Patch { span: Span::new(pair[0].0, pair[1].0), text: pair[0].1.clone() }).collect()
    })
}

/// Lower-case bytes that are all different say where each came from.
const SOURCE: &str = "abcdefghijklmnopqrstuvwxyz";

proptest! {
    #[test]
    fn what_is_verbatim_is_found_where_it_was(first in edits(26), second in edits(12)) {
        let (text, map) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
        let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= text.len()).collect();
        let (text, map) = map.apply(&text, &second).unwrap();
        for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_lowercase()) {
            let span = map.to_source(Span::new(at, at + 1)).unwrap();
            prop_assert_eq!(span.of(SOURCE).unwrap().as_bytes(), &[byte]);
        }
    }

    #[test]
    fn later_spans_map_to_later_sources(first in edits(26), second in edits(12)) {
        let (text, map) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
        let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= text.len()).collect();
        let (text, map) = map.apply(&text, &second).unwrap();
        let mut last = Span::new(0, 0);
        for at in 0..text.len() {
            let span = map.to_source(Span::new(at, at + 1)).unwrap();
            prop_assert!(span.start <= span.end && span.end <= SOURCE.len());
            prop_assert!(last.start <= span.start && last.end <= span.end);
            last = span;
        }
    }

    #[test]
    fn a_composed_map_covers_what_two_maps_in_turn_give(first in edits(26), second in edits(12)) {
        let (middle, one) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
        let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= middle.len()).collect();
        let (text, two) = SourceMap::identity(middle.len()).apply(&middle, &second).unwrap();
        let (_, composed) = one.apply(&middle, &second).unwrap();
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                let span = Span::new(start, end);
                let composed = composed.to_source(span).unwrap();
                let in_turn = one.to_source(two.to_source(span).unwrap()).unwrap();
                prop_assert!(composed.start <= in_turn.start && in_turn.end <= composed.end);
            }
        }
    }

    #[test]
    fn patching_in_two_rounds_is_patching_once(list in edits(26)) {
        let once = SourceMap::identity(26).apply(SOURCE, &list).unwrap();
        // The later half first, so that the places of the other half do not move.
        let (earlier, later) = list.split_at(list.len() / 2);
        let (text, map) = SourceMap::identity(26).apply(SOURCE, later).unwrap();
        prop_assert_eq!(map.apply(&text, earlier).unwrap().0, once.0);
    }
}

/// Where a byte of an edited text came from, found out the slow way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    source: Span,
    /// The patch that put it there, counted over all rounds; nothing where it stands in the source.
    patch: Option<usize>,
}

/// What `source` becomes, and where each of its bytes came from: byte by byte, round by round.
fn slowly(source: &str, rounds: &[Vec<Patch>]) -> (Vec<u8>, Vec<Origin>) {
    let mut text = source.as_bytes().to_vec();
    let mut origins: Vec<_> =
        (0..text.len()).map(|at| Origin { source: Span::new(at, at + 1), patch: None }).collect();
    let mut n_patches = 0;
    for round in rounds {
        // From the end, so that the places of the others do not move.
        let before = origins.clone();
        for patch in round.iter().rev() {
            n_patches += 1;
            let origin =
                Origin { source: replaced_by(&before, patch.span, source.len()), patch: Some(n_patches) };
            text.splice(patch.span.start..patch.span.end, patch.text.bytes());
            origins.splice(patch.span.start..patch.span.end, patch.text.bytes().map(|_| origin));
        }
    }
    (text, origins)
}

/// The source of all that `span` touches; for an empty one what was deleted
/// there, or all of the replacement that it is inside of.
fn replaced_by(origins: &[Origin], span: Span, source_len: usize) -> Span {
    if let Some([first, .., last] | [first @ last]) = origins.get(span.start..span.end) {
        return Span::new(first.source.start, last.source.end);
    }
    let before = span.start.checked_sub(1).and_then(|at| origins.get(at));
    let after = origins.get(span.start);
    match (before, after) {
        (Some(before), Some(after)) if before.patch.is_some() && before == after => before.source,
        _ => {
            let before = before.map_or(0, |origin| origin.source.end);
            let after = after.map_or(source_len, |origin| origin.source.start);
            Span::new(before.min(after), before.max(after))
        }
    }
}

/// Patches of `text` from places and new texts, which may touch each other and be empty.
fn fitted(text: &str, cuts: &[(prop::sample::Index, String)]) -> Vec<Patch> {
    let places: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut ats: Vec<_> = cuts.iter().map(|(cut, _)| places[cut.index(places.len())]).collect();
    ats.sort_unstable();
    let pairs = ats.chunks_exact(2).zip(cuts);
    pairs.map(|(ats, (_, new))| Patch { span: Span::new(ats[0], ats[1]), text: new.clone() }).collect()
}

proptest! {
    #[test]
    fn a_chain_of_any_length_leads_back_to_the_right_bytes(
        source in "[a-zé海🌊 \\n]{0,24}",
        cuts in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), "[A-Zü🌊]{0,3}"), 0..8), 0..6),
    ) {
        let (mut text, mut map) = (source.clone(), SourceMap::identity(source.len()));
        let mut rounds = Vec::new();
        for cuts in &cuts {
            rounds.push(fitted(&text, cuts));
            (text, map) = map.apply(&text, &rounds[rounds.len() - 1]).unwrap();
        }
        let (slow, origins) = slowly(&source, &rounds);
        prop_assert_eq!(text.as_bytes(), slow);
        let n_verbatim = origins.iter().filter(|origin| origin.patch.is_none()).count();
        prop_assert_eq!(map.n_verbatim(), n_verbatim);
        let places: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for (index, start) in places.iter().enumerate() {
            for end in &places[index..] {
                let span = Span::new(*start, *end);
                let found = map.to_source(span).unwrap();
                prop_assert_eq!(found, replaced_by(&origins, span, source.len()), "{:?} in {:?}", span, map);
                let whole = found.of(&source);
                prop_assert!(whole.is_some(), "{:?} cuts a character", found);
                if origins[*start..*end].iter().all(|origin| origin.patch.is_none())
                    && found.len() == span.len() {
                    prop_assert_eq!(whole, span.of(&text));
                }
            }
        }
    }
}
