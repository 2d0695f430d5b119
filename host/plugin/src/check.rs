//! Checks what a plugin answered: it is input from a stranger.
//!
//! Each function returns the checked answer, or the rule that it breaks in words
//! that follow "broke the contract on document X: ".

use std::time::Instant;

use embergate_core::document::{Chunk, Chunks, Coverage, Patch, Span};

use super::bindings::embergate::plugin::types;
use super::bindings::exports::embergate::plugin::{chunker, preprocessor};
use super::imports::{SLICE_BYTES, Work};
use super::offsets::Offsets;
use super::{Call, Edit, words};

/// Checks an edit of `text`.
pub(super) fn edit(text: &str, edit: preprocessor::Edit) -> Result<Edit, String> {
    match edit {
        preprocessor::Edit::Keep => Ok(Edit::Keep),
        preprocessor::Edit::Replace(text) => Ok(Edit::Replace(text)),
        preprocessor::Edit::Reject(reason) => Ok(Edit::Reject(words::sentence(&reason))),
        preprocessor::Edit::Patch(answer) => {
            let offsets = Offsets::new(text, answer.unit);
            let mut patches = Vec::with_capacity(answer.items.len());
            for (index, patch) in answer.items.into_iter().enumerate() {
                let span = place(&offsets, &patch.span).map_err(|why| format!("patch {index} {why}"))?;
                patches.push(Patch { span, text: patch.text });
            }
            Patch::check(text, &patches).map_err(|error| error.to_string())?;
            Ok(Edit::Patch(patches))
        }
    }
}

/// Checks that indexes are below `len` and ascending.
pub(super) fn ascending(indexes: impl Iterator<Item = u32>, len: usize, of: &str) -> Result<(), String> {
    let mut least = 0;
    for (note, index) in indexes.enumerate() {
        if len <= index as usize {
            return Err(format!("note {note} is about {of} {index}, and there are {len}"));
        }
        if index < least {
            return Err(format!("note {note} is about {of} {index}, which is not after the one before it"));
        }
        least = index + 1;
    }
    Ok(())
}

/// Checks all of a chunker's answer for one document but its tokens, which stay 0.
pub(super) fn chunks(text: &str, answer: chunker::Chunks) -> Result<Chunks, String> {
    let offsets = Offsets::new(text, answer.unit);
    let mut chunks: Vec<Chunk> = Vec::with_capacity(answer.spans.len());
    for (index, span) in answer.spans.iter().enumerate() {
        let span = place(&offsets, span).map_err(|why| format!("span {index} {why}"))?;
        if span.is_empty() {
            return Err(format!("span {index} is empty, at byte {}", span.start));
        }
        if let Some(Chunk { span: before, .. }) = chunks.last() {
            if span.start <= before.start {
                return Err(format!(
                    "span {index} starts at byte {}, not after the start of the one before it at {}",
                    span.start, before.start
                ));
            }
            if span.end < before.end {
                return Err(format!(
                    "span {index} ends at byte {}, before the end of the one before it at {}",
                    span.end, before.end
                ));
            }
        }
        chunks.push(Chunk { span, prefix: None, window: None, metadata: Vec::new(), n_tokens: 0 });
    }
    let mut omitted = Vec::with_capacity(answer.omitted.len());
    for (index, omission) in answer.omitted.into_iter().enumerate() {
        let span = place(&offsets, &omission.span).map_err(|why| format!("omission {index} {why}"))?;
        omitted.push((span, words::sentence(&omission.reason)));
    }
    ascending(answer.notes.iter().map(|note| note.chunk), chunks.len(), "chunk")?;
    for note in answer.notes {
        let chunk = &mut chunks[note.chunk as usize];
        chunk.prefix = note.prefix;
        chunk.metadata = note.metadata;
        if let Some(window) = &note.window {
            let window =
                place(&offsets, window).map_err(|why| format!("the window of chunk {} {why}", note.chunk))?;
            chunk.window = Some(window);
        }
    }
    let spans = chunks.iter().map(|chunk| chunk.span);
    let coverage = Coverage::prove(text, spans, &omitted).map_err(|gap| gap.to_string())?;
    Ok(Chunks { chunks, omitted, coverage })
}

/// Counts the tokens of each chunk and its prefix together, and checks them
/// against what the model takes. Lets other tasks run on the way.
pub(super) async fn tokens(
    text: &str,
    chunks: &mut Chunks,
    (call, work, doc): (&Call, &Work, u32),
    deadline: Instant,
) -> Result<(), String> {
    let mut since = 0;
    for (index, chunk) in chunks.chunks.iter_mut().enumerate() {
        let counted = if chunk.prefix.is_none() { work.counted(doc, chunk.span) } else { None };
        chunk.n_tokens = match (counted, &chunk.prefix) {
            (Some(counted), _) => counted,
            (None, None) => call.tokenizer.count(&text[chunk.span.start..chunk.span.end]),
            (None, Some(_)) => call.tokenizer.count(&chunk.embedded_text(text)),
        };
        if call.max_tokens < chunk.n_tokens {
            return Err(format!(
                "chunk {index} has {} tokens with its prefix, more than the {} that `{}` takes",
                chunk.n_tokens, call.max_tokens, call.model
            ));
        }
        since += chunk.span.len();
        if SLICE_BYTES < since {
            since = 0;
            tokio::task::yield_now().await;
            if deadline < Instant::now() {
                return Err("counting the tokens of its chunks takes longer than the call may".into());
            }
        }
    }
    Ok(())
}

fn place(offsets: &Offsets<'_>, span: &types::Span) -> Result<Span, String> {
    let types::Span { start, end } = *span;
    if end < start {
        return Err(format!("runs backwards, from {start} to {end}"));
    }
    match (offsets.byte(start), offsets.byte(end)) {
        (Some(start), Some(end)) => Ok(Span::new(start, end)),
        (None, _) => Err(format!("starts at {start}, outside the text or inside a character")),
        (_, None) => Err(format!("ends at {end}, outside the text or inside a character")),
    }
}

#[cfg(test)]
mod tests {
    use types::OffsetUnit;

    use super::*;

    fn answer(spans: &[(u32, u32)], omitted: &[(u32, u32)], notes: &[u32]) -> chunker::Chunks {
        let span = |&(start, end): &(u32, u32)| types::Span { start, end };
        chunker::Chunks {
            unit: OffsetUnit::Utf8Byte,
            spans: spans.iter().map(span).collect(),
            omitted: omitted
                .iter()
                .map(|it| chunker::Omission { span: span(it), reason: "on purpose".into() })
                .collect(),
            notes: notes
                .iter()
                .map(|&chunk| chunker::Note { chunk, prefix: None, window: None, metadata: Vec::new() })
                .collect(),
        }
    }

    const TEXT: &str = "né two";

    #[track_caller]
    fn check(answer: chunker::Chunks, want: Result<usize, &str>) {
        let got = chunks(TEXT, answer).map(|chunks| chunks.chunks.len());
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn chunks_that_cover_the_text_pass() {
        check(answer(&[(0, 3), (4, 7)], &[], &[0, 1]), Ok(2));
    }

    #[test]
    fn chunks_may_overlap() {
        check(answer(&[(0, 4), (3, 7)], &[], &[]), Ok(2));
    }

    #[test]
    fn what_is_omitted_need_not_be_in_a_chunk() {
        check(answer(&[(4, 7)], &[(0, 3)], &[]), Ok(1));
    }

    #[test]
    fn a_span_inside_a_character_is_refused() {
        check(answer(&[(0, 2)], &[], &[]), Err("span 0 ends at 2, outside the text or inside a character"));
    }

    #[test]
    fn a_span_outside_the_text_is_refused() {
        check(answer(&[(0, 8)], &[], &[]), Err("span 0 ends at 8, outside the text or inside a character"));
    }

    #[test]
    fn a_span_that_runs_backwards_is_refused() {
        check(answer(&[(3, 0)], &[], &[]), Err("span 0 runs backwards, from 3 to 0"));
    }

    #[test]
    fn an_empty_span_is_refused() {
        check(answer(&[(3, 3)], &[], &[]), Err("span 0 is empty, at byte 3"));
    }

    #[test]
    fn spans_out_of_order_are_refused() {
        let why = "span 1 starts at byte 0, not after the start of the one before it at 4";
        check(answer(&[(4, 7), (0, 3)], &[], &[]), Err(why));
    }

    #[test]
    fn a_span_inside_the_one_before_it_is_refused() {
        let why = "span 1 ends at byte 4, before the end of the one before it at 7";
        check(answer(&[(0, 7), (3, 4)], &[], &[]), Err(why));
    }

    #[test]
    fn text_in_no_chunk_is_refused() {
        let why = "bytes 3 to 7 have text that is in no chunk and not declared omitted";
        check(answer(&[(0, 3)], &[], &[]), Err(why));
    }

    #[test]
    fn a_note_about_no_chunk_is_refused() {
        check(answer(&[(0, 7)], &[], &[1]), Err("note 0 is about chunk 1, and there are 1"));
    }

    #[test]
    fn two_notes_about_one_chunk_are_refused() {
        let why = "note 1 is about chunk 0, which is not after the one before it";
        check(answer(&[(0, 7)], &[], &[0, 0]), Err(why));
    }

    #[test]
    fn a_window_outside_the_text_is_refused() {
        let mut answer = answer(&[(0, 7)], &[], &[0]);
        answer.notes[0].window = Some(types::Span { start: 0, end: 9 });
        check(answer, Err("the window of chunk 0 ends at 9, outside the text or inside a character"));
    }

    #[test]
    fn patches_that_overlap_are_refused() {
        let patch =
            |start, end| preprocessor::Patch { span: types::Span { start, end }, text: String::new() };
        let patches =
            preprocessor::Patches { unit: OffsetUnit::CodePoint, items: vec![patch(0, 3), patch(2, 4)] };
        let error = edit(TEXT, preprocessor::Edit::Patch(patches)).unwrap_err();
        assert_eq!(error, "patch 1 starts at byte 3, before the end of the patch before it at 4");
    }

    #[test]
    fn patches_are_read_in_their_author_s_unit() {
        let patch = preprocessor::Patch { span: types::Span { start: 2, end: 3 }, text: "_".into() };
        let patches = preprocessor::Patches { unit: OffsetUnit::Utf16Unit, items: vec![patch] };
        let want = Edit::Patch(vec![Patch { span: Span::new(3, 4), text: "_".into() }]);
        assert_eq!(edit(TEXT, preprocessor::Edit::Patch(patches)), Ok(want));
    }
}
