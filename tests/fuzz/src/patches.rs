//! Patches as a chain of preprocessors might answer them, and the map back to the
//! source that the gateway makes of them, against one kept byte by byte.
//!
//! A seed is lines, an empty line, and the source. `b`, `u` or `c` begins a
//! preprocessor's patches and is their unit; a patch is a start, an end and a text.

use embergate::document::{Patch, SourceMap, Span};
use embergate::plugin::{Edit, PluginError};

use crate::image::{Image, process};
use crate::spans::places;

#[derive(Debug, Default)]
struct Round {
    unit: u8,
    patches: Vec<(u32, u32, String)>,
}

/// A text, and where each of its bytes stood in the source, if it stood there.
struct Tracked {
    text: String,
    from: Vec<Option<usize>>,
}

pub(crate) fn check_bytes(bytes: &[u8]) {
    let Ok(seed) = std::str::from_utf8(bytes) else { return };
    let (head, source) = seed.split_once("\n\n").unwrap_or((seed, ""));
    let mut tracked = Tracked { text: source.into(), from: (0..source.len()).map(Some).collect() };
    let mut map = SourceMap::identity(source.len());
    for round in rounds(head) {
        let want = round.in_bytes(&tracked.text);
        let patches = match process(&tracked.text, round.image().bytes()) {
            Ok(answers) => match &answers[0].edit {
                Edit::Patch(patches) => patches.clone(),
                edit => panic!("{round:?} became {edit:?}"),
            },
            Err(PluginError::Contract { reason, .. }) => {
                assert_eq!(want, None, "refused: {round:?} of {:?}: {reason}", tracked.text);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(want.as_ref(), Some(&patches), "taken: {round:?} of {:?}", tracked.text);
        let (text, composed) = map.apply(&tracked.text, &patches).expect("they have been checked");
        tracked = tracked.patched(&patches);
        assert_eq!(text, tracked.text);
        tracked.check(source, &composed);
        map = composed;
    }
}

fn rounds(head: &str) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for line in head.lines() {
        let mut words = line.splitn(3, ' ');
        let first = words.next().unwrap_or_default();
        let (Ok(start), Some(Ok(end))) = (first.parse(), words.next().map(str::parse)) else {
            let unit = match first {
                "u" => 1,
                "c" => 2,
                _ => 0,
            };
            rounds.push(Round { unit, patches: Vec::new() });
            continue;
        };
        let patch = (start, end, words.next().unwrap_or_default().to_owned());
        match rounds.last_mut() {
            Some(round) => round.patches.push(patch),
            None => rounds.push(Round { unit: 0, patches: vec![patch] }),
        }
    }
    rounds
}

impl Round {
    fn image(&self) -> Image {
        let mut image = Image::default();
        let answer = image.room(5);
        let edit = image.room(4);
        image.list(answer + 4, edit, 1);
        image.word(edit, 1);
        image.word(edit + 4, self.unit.into());
        let patches = image.room(4 * self.patches.len());
        image.list(edit + 8, patches, self.patches.len());
        for (index, (start, end, text)) in self.patches.iter().enumerate() {
            image.word(patches + 16 * index, *start);
            image.word(patches + 16 * index + 4, *end);
            image.text(patches + 16 * index + 8, text);
        }
        image
    }

    /// Nothing where a rule is broken.
    fn in_bytes(&self, text: &str) -> Option<Vec<Patch>> {
        let places = places(text, self.unit);
        let patch = |(start, end, text): &(u32, u32, String)| {
            let span = Span::new(*places.get(start)?, *places.get(end)?);
            (span.start <= span.end).then(|| Patch { span, text: text.clone() })
        };
        let patches: Vec<_> = self.patches.iter().map(patch).collect::<Option<_>>()?;
        patches.windows(2).all(|two| two[0].span.end <= two[1].span.start).then_some(patches)
    }
}

impl Tracked {
    /// From the last patch to the first, so that nothing moves that is still to be patched.
    fn patched(mut self, patches: &[Patch]) -> Self {
        for Patch { span, text } in patches.iter().rev() {
            self.text.replace_range(span.start..span.end, text);
            self.from.splice(span.start..span.end, text.bytes().map(|_| None));
        }
        self
    }

    fn check(&self, source: &str, map: &SourceMap) {
        let place = |start, end| map.to_source(Span::new(start, end)).expect("the span is in the text");
        let mut last = Span::new(0, 0);
        for (at, char) in self.text.char_indices() {
            let span = place(at, at + char.len_utf8());
            assert!(span.of(source).is_some(), "{span:?} is off the source, from {at}");
            assert!(last.start <= span.start && last.end <= span.end, "{span:?} is before {last:?}");
            last = span;
            let between = place(at, at);
            assert!(between.of(source).is_some(), "{between:?} is off the source, before {at}");
        }
        for (at, from) in self.from.iter().enumerate() {
            if let Some(from) = *from {
                assert_eq!(place(at, at + 1), Span::new(from, from + 1));
            }
        }
        let all = place(0, self.text.len());
        assert!(self.from.iter().flatten().all(|from| all.start <= *from && *from < all.end));
        assert_eq!(map.to_source(Span::new(0, self.text.len() + 1)), None);
    }
}
