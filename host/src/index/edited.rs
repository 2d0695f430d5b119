//! A document on its way through a chain of preprocessors, with the way back to
//! the file: whatever they do in turn is one map in the end.

use super::source::Decoded;
use crate::document::{Document, PatchError, SourceMap, Span};
use crate::plugin::{Edit, Preprocessed};

pub(super) struct Edited {
    pub(super) document: Document,
    map: SourceMap,
}

/// Why the chain ends before its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The document is not to be indexed, for this reason.
    Rejected(String),
    /// Patches that do not fit: the plugin host lets none pass.
    Patch(PatchError),
}

impl Edited {
    /// The document as it was read.
    pub(super) fn new(id: &str, media_type: &str, decoded: &Decoded) -> Self {
        let document = Document {
            id: id.to_owned(),
            media_type: media_type.to_owned(),
            text: decoded.text().to_owned(),
            metadata: decoded.said().collect(),
        };
        Self { document, map: SourceMap::identity(decoded.text().len()) }
    }

    /// Does what the next preprocessor of the chain wants done.
    pub(super) fn apply(&mut self, answer: Preprocessed) -> Result<(), Stopped> {
        let Preprocessed { edit, media_type, metadata } = answer;
        let document = &mut self.document;
        match edit {
            Edit::Keep => {}
            Edit::Patch(patches) => {
                (document.text, self.map) =
                    self.map.apply(&document.text, &patches).map_err(Stopped::Patch)?;
            }
            Edit::Replace(text) => (document.text, self.map) = (text, SourceMap::replaced()),
            Edit::Reject(reason) => return Err(Stopped::Rejected(reason)),
        }
        if let Some(media_type) = media_type {
            document.media_type = media_type;
        }
        for (key, value) in metadata {
            document.metadata.retain(|(known, _)| *known != key);
            document.metadata.push((key, value));
        }
        Ok(())
    }

    /// Whether spans point into the extracted text, because there is no way back to the file.
    pub(super) fn is_extracted(&self) -> bool {
        self.map.is_replaced()
    }

    /// Bytes of the file's text that the chain left as they are.
    pub(super) fn n_kept(&self) -> usize {
        self.map.n_verbatim()
    }

    /// The lines on which `places` begin, counted from 1: of the file, or of the extracted text.
    pub(super) fn lines(&self, places: &[Span], decoded: &Decoded) -> Vec<u32> {
        if !self.is_extracted() {
            return decoded.lines(places);
        }
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', self.document.text.as_bytes()).collect();
        let line = |place: &Span| 1 + ends.partition_point(|end| *end < place.start);
        places.iter().map(|place| u32::try_from(line(place)).unwrap_or(u32::MAX)).collect()
    }

    /// Where `spans` of the text came from: bytes of the file's text, or of the extracted one.
    pub(super) fn places(&self, spans: &[Span]) -> Vec<Span> {
        if self.is_extracted() {
            return spans.to_vec();
        }
        let place = |span: &Span| self.map.to_source(*span).unwrap_or(Span::new(0, 0));
        spans.iter().map(place).collect()
    }

    /// Where `places` are in the file itself, its byte order mark and its encoding counted.
    pub(super) fn in_file(&self, places: &[Span], decoded: &Decoded) -> Vec<Span> {
        if self.is_extracted() { places.to_vec() } else { decoded.file_spans(places) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::document::Patch;

    fn answer(edit: Edit) -> Preprocessed {
        Preprocessed { edit, media_type: None, metadata: Vec::new() }
    }

    fn edited(decoded: &Decoded, edits: impl IntoIterator<Item = Edit>) -> Edited {
        let mut edited = Edited::new("/a", "text/plain", decoded);
        edits.into_iter().for_each(|edit| edited.apply(answer(edit)).unwrap());
        edited
    }

    fn patch(start: usize, end: usize, text: &str) -> Edit {
        Edit::Patch(vec![Patch { span: Span::new(start, end), text: text.to_owned() }])
    }

    #[test]
    fn after_a_replacement_spans_are_of_the_extracted_text() {
        let decoded = Decoded::of(b"a &amp; b");
        let chain = [patch(2, 7, "&"), Edit::Replace("one two".to_owned()), patch(0, 3, "1")];
        let edited = edited(&decoded, chain);
        let places = edited.places(&[Span::new(2, 5)]);
        assert!(edited.is_extracted());
        assert_eq!(places[0].of(&edited.document.text), Some("two"));
        assert_eq!((edited.in_file(&places, &decoded), edited.n_kept()), (places, 0));
    }

    #[test]
    fn the_last_word_on_a_key_counts() {
        let decoded = Decoded::of(b"x");
        let mut edited = Edited::new("/a", "text/html", &decoded);
        for title in ["one", "two"] {
            let metadata = vec![("title".to_owned(), title.to_owned())];
            edited
                .apply(Preprocessed { edit: Edit::Keep, media_type: Some("text/plain".into()), metadata })
                .unwrap();
        }
        assert_eq!(edited.document.metadata, [("title".to_owned(), "two".to_owned())]);
        assert_eq!(edited.document.media_type, "text/plain");
    }

    #[test]
    fn a_rejection_ends_the_chain() {
        let decoded = Decoded::of(b"x");
        let ended = Edited::new("/a", "text/plain", &decoded).apply(answer(Edit::Reject("no".into())));
        assert!(matches!(ended, Err(Stopped::Rejected(reason)) if reason == "no"));
    }

    /// A file's bytes: with a mark or none, in UTF-8 or UTF-16.
    fn encoded(text: &str, way: u8) -> Vec<u8> {
        match way {
            0 => text.as_bytes().to_vec(),
            1 => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            _ => [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
        }
    }

    fn read_back(bytes: &[u8], way: u8) -> String {
        if way < 2 {
            return String::from_utf8(bytes.to_vec()).unwrap();
        }
        let (units, rest) = bytes.as_chunks::<2>();
        assert!(rest.is_empty(), "half a unit");
        String::from_utf16(&units.iter().map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>()).unwrap()
    }

    /// An edit that takes out, puts in and replaces characters which stand in no source.
    fn drawn(text: &str, cuts: &[(Index, String)]) -> Edit {
        let places: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut ats: Vec<_> = cuts.iter().map(|(cut, _)| places[cut.index(places.len())]).collect();
        ats.sort_unstable();
        let pairs = ats.chunks_exact(2).zip(cuts);
        let patches = pairs.map(|(at, (_, new))| Patch { span: Span::new(at[0], at[1]), text: new.clone() });
        Edit::Patch(patches.collect())
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_file_after_any_chain_points_at_its_own_bytes(
            text in "[a-zé海🌊 \\n]{1,32}",
            way in 0_u8..3,
            chain in prop::collection::vec(prop::collection::vec((any::<Index>(), "[A-ZÜ]{0,3}"), 0..8), 0..6),
        ) {
            let bytes = encoded(&text, way);
            let decoded = Decoded::of(&bytes);
            let mut edited = Edited::new("/a", "text/plain", &decoded);
            for cuts in &chain {
                let edit = drawn(&edited.document.text, cuts);
                edited.apply(answer(edit)).unwrap();
            }
            // Every character alone, and each up to the end.
            let shown = edited.document.text.clone();
            let chars: Vec<_> = shown.char_indices().map(|(at, c)| Span::new(at, at + c.len_utf8())).collect();
            let in_file = edited.in_file(&edited.places(&chars), &decoded);
            let mut n_kept = 0;
            for (span, there) in chars.iter().zip(&in_file) {
                let there = read_back(&bytes[there.start..there.end], way);
                let here = span.of(&shown).unwrap();
                if !here.contains(|c: char| c.is_uppercase()) {
                    n_kept += here.len();
                    prop_assert_eq!(there, here);
                }
            }
            prop_assert_eq!(edited.n_kept(), n_kept);
            for (index, span) in chars.iter().enumerate() {
                let tail = [Span::new(span.start, shown.len())];
                let there = edited.in_file(&edited.places(&tail), &decoded)[0];
                prop_assert_eq!(there.start, in_file[index].start);
                prop_assert_eq!(there.end, in_file[in_file.len() - 1].end);
            }
        }
    }
}
