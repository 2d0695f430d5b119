//! The best place to cut within a window: page, blank line, line, sentence, clause, word.

use crate::source::{Source, n_up_to};
use crate::{Span, Structure};

const FORM_FEED: u8 = 0x0c;

/// The last places in a window that end something, strongest first.
#[derive(Default)]
struct Lines {
    page: Option<usize>,
    blank: Option<usize>,
    line: Option<usize>,
}

impl Source<'_> {
    /// The strongest boundary after `window.start` and up to `window.end`, and
    /// of equals the last. None of it breaks a grapheme cluster or an atom.
    pub(crate) fn best_cut(&self, window: Span, structure: &Structure) -> Option<usize> {
        let allowed = |at: usize| structure.broken_by(at).is_none() && self.parts_no_cluster(at);
        let last_of = |ends: &[u32]| {
            let up_to_end = &ends[..n_up_to(ends, window.end)];
            up_to_end
                .iter()
                .rev()
                .map(|&end| end as usize)
                .take_while(|&end| end > window.start)
                .find(|&end| allowed(end))
        };

        let parts = &structure.parts;
        let part = parts[..parts.partition_point(|&at| at <= window.end)].last();
        if let Some(&part) = part.filter(|&&at| at > window.start && allowed(at)) {
            return Some(part);
        }
        let lines = self.lines(window, &allowed);
        lines
            .page
            .or(lines.blank)
            .or(lines.line)
            .or_else(|| last_of(self.sentences()))
            .or_else(|| self.last_clause(window, &allowed))
            .or_else(|| last_of(self.words()))
    }

    fn lines(&self, window: Span, allowed: &dyn Fn(usize) -> bool) -> Lines {
        let mut found = Lines::default();
        let before = self.text[..window.start].trim_end_matches([' ', '\t', '\r']);
        let mut is_blank = before.is_empty() || before.ends_with('\n');
        let bytes = window.of(self.text).as_bytes();
        let mut line_start = 0;
        for offset in memchr::memchr2_iter(b'\n', FORM_FEED, bytes) {
            is_blank &= bytes[line_start..offset].iter().all(u8::is_ascii_whitespace);
            let level = match bytes[offset] {
                FORM_FEED => &mut found.page,
                _ if is_blank => &mut found.blank,
                _ => &mut found.line,
            };
            line_start = offset + 1;
            is_blank = true;
            if allowed(window.start + line_start) {
                *level = Some(window.start + line_start);
            }
        }
        found
    }

    /// After `, ; :` and a space, after a dash between spaces, or after their
    /// full-width and Arabic relatives.
    fn last_clause(&self, window: Span, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        let text = self.text;
        window
            .of(text)
            .char_indices()
            .rev()
            .filter(|&(offset, c)| match c {
                '，' | '、' | '；' | '：' | '،' | '؛' | '।' => true,
                ' ' => text[..window.start + offset].ends_with([',', ';', ':', '–', '—']),
                _ => false,
            })
            .map(|(offset, c)| window.start + offset + c.len_utf8())
            .find(|&end| allowed(end))
    }
}
