//! Chunks as a chunker might answer them, and the rules again, written as plainly as
//! they can be: what the gateway takes and what it refuses has to be the same.
//!
//! A seed is lines of a letter and numbers, an empty line, and the text. `b`, `u` or
//! `c` is the unit (bytes, UTF-16, code points), with starts and ends of chunks behind
//! it; `o` has those of omissions; `w` a chunk and its window, `p` a chunk and its prefix.

use std::collections::BTreeMap;

use embergate::plugin::PluginError;

use crate::image::{Image, MAX_TOKENS, call, split};

#[derive(Debug, Default)]
struct Answer {
    unit: u8,
    spans: Vec<(u32, u32)>,
    omitted: Vec<(u32, u32)>,
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Note {
    chunk: u32,
    prefix: Option<String>,
    window: Option<(u32, u32)>,
}

pub(crate) fn check_bytes(bytes: &[u8]) {
    let Ok(seed) = std::str::from_utf8(bytes) else { return };
    let (head, text) = seed.split_once("\n\n").unwrap_or((seed, ""));
    let answer = Answer::from_seed(head);
    let want = answer.is_good(text);
    let got = split(text, answer.image().bytes()).expect("an answer of this form is read");
    match &got[0] {
        Ok(chunks) => {
            assert!(want, "taken: {answer:?} of {text:?}");
            assert_eq!(chunks.chunks.len(), answer.spans.len());
            for chunk in &chunks.chunks {
                assert!(
                    chunk.span.of(text).is_some_and(|text| !text.is_empty()) && chunk.n_tokens <= MAX_TOKENS
                );
            }
        }
        Err(error) => {
            assert!(!want, "refused: {answer:?} of {text:?}: {error}");
            assert!(matches!(error, PluginError::Contract { .. }), "{error}");
        }
    }
}

/// Numbers by twos; one that is left over is left out.
fn pairs(text: &str) -> Vec<(u32, u32)> {
    let numbers: Vec<u32> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.as_chunks::<2>().0.iter().map(|&[start, end]| (start, end)).collect()
}

impl Answer {
    fn from_seed(head: &str) -> Self {
        let mut answer = Self::default();
        for line in head.lines() {
            let Some(letter) = line.chars().next() else { continue };
            let rest = &line[letter.len_utf8()..];
            let (chunk, after) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
            let chunk = chunk.parse().unwrap_or(0);
            match letter {
                'o' => answer.omitted.extend(pairs(rest)),
                'p' => answer.notes.push(Note { chunk, prefix: Some(after.to_owned()), window: None }),
                'w' => answer.notes.push(Note { chunk, prefix: None, window: pairs(after).first().copied() }),
                unit => {
                    answer.unit = match unit {
                        'u' => 1,
                        'c' => 2,
                        _ => 0,
                    };
                    answer.spans.extend(pairs(rest));
                }
            }
        }
        answer
    }

    fn image(&self) -> Image {
        let mut image = Image::default();
        let answer = image.room(3);
        let chunks = image.room(7);
        image.list(answer + 4, chunks, 1);
        image.word(chunks, self.unit.into());
        let spans = image.room(2 * self.spans.len());
        image.list(chunks + 4, spans, self.spans.len());
        for (index, (start, end)) in self.spans.iter().enumerate() {
            image.word(spans + 8 * index, *start);
            image.word(spans + 8 * index + 4, *end);
        }
        let omitted = image.room(4 * self.omitted.len());
        image.list(chunks + 12, omitted, self.omitted.len());
        for (index, (start, end)) in self.omitted.iter().enumerate() {
            image.word(omitted + 16 * index, *start);
            image.word(omitted + 16 * index + 4, *end);
            image.text(omitted + 16 * index + 8, "on purpose");
        }
        let notes = image.room(9 * self.notes.len());
        image.list(chunks + 20, notes, self.notes.len());
        for (index, note) in self.notes.iter().enumerate() {
            note.write(&mut image, notes + 36 * index);
        }
        image
    }

    fn is_good(&self, text: &str) -> bool {
        let places = places(text, self.unit);
        let bytes = |&(start, end): &(u32, u32)| Some((*places.get(&start)?, *places.get(&end)?));
        let in_bytes = |spans: &[(u32, u32)]| spans.iter().map(bytes).collect::<Option<Vec<_>>>();
        let (Some(spans), Some(omitted)) = (in_bytes(&self.spans), in_bytes(&self.omitted)) else {
            return false;
        };
        let runs = |(start, end): &(usize, usize)| start <= end;
        let rises = spans.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let mut covered = vec![false; text.len()];
        for (start, end) in spans.iter().chain(&omitted).filter(|span| runs(span)) {
            covered[*start..*end].fill(true);
        }
        let all_covered = text.char_indices().all(|(at, char)| covered[at] || char.is_whitespace());
        spans.iter().all(|(start, end)| start < end)
            && omitted.iter().all(runs)
            && rises
            && all_covered
            && self.has_good_notes(&places)
            && self.fits(text, &spans)
    }

    fn has_good_notes(&self, places: &BTreeMap<u32, usize>) -> bool {
        let known = |note: &Note| (note.chunk as usize) < self.spans.len();
        let inside = |note: &Note| match &note.window {
            Some((start, end)) => start <= end && places.contains_key(start) && places.contains_key(end),
            None => true,
        };
        self.notes.iter().all(|note| known(note) && inside(note))
            && self.notes.windows(2).all(|two| two[0].chunk < two[1].chunk)
    }

    fn fits(&self, text: &str, spans: &[(usize, usize)]) -> bool {
        let tokenizer = call().tokenizer;
        spans.iter().enumerate().all(|(index, (start, end))| {
            let note = self.notes.iter().find(|note| note.chunk as usize == index);
            let prefix = note.and_then(|note| note.prefix.as_deref()).unwrap_or_default();
            tokenizer.count(&format!("{prefix}{}", &text[*start..*end])) <= MAX_TOKENS
        })
    }
}

impl Note {
    fn write(&self, image: &mut Image, at: usize) {
        image.word(at, self.chunk);
        if let Some(prefix) = &self.prefix {
            image.word(at + 4, 1);
            image.text(at + 8, prefix);
        }
        if let Some((start, end)) = self.window {
            image.word(at + 16, 1);
            image.word(at + 20, start);
            image.word(at + 24, end);
        }
    }
}

/// The byte at which each unit's number is the beginning of a character, or the end.
pub(crate) fn places(text: &str, unit: u8) -> BTreeMap<u32, usize> {
    let mut units = 0;
    let mut places = BTreeMap::new();
    for (at, char) in text.char_indices() {
        places.insert(units, at);
        units += match unit {
            1 => char.len_utf16() as u32,
            2 => 1,
            _ => char.len_utf8() as u32,
        };
    }
    places.insert(units, text.len());
    places
}
