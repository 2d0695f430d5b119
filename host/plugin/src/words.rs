//! Words from a stranger, fit to be shown: of bounded length, in one line, and
//! without what could command a terminal.

/// Bytes of a sentence that a plugin says to people, at most.
pub(super) const SENTENCE: usize = 1_024;
/// Bytes of its version, at most.
pub(super) const VERSION: usize = 64;

/// The beginning of `text`, and a sign where something follows.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(max)])
}

/// The lines of `text`, parted by bars; of other control characters a sign is left.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let lines: Vec<String> =
        lines.map(|line| line.replace(is_command, "\u{FFFD}").replace('\t', " ")).collect();
    lines.join(" | ")
}

/// A sentence of a plugin, as it may be shown.
pub(super) fn sentence(text: &str) -> String {
    cut(&one_line(&text[..text.floor_char_boundary(4 * SENTENCE)]), SENTENCE)
}

/// Control characters, and those that turn the direction of writing.
fn is_command(character: char) -> bool {
    let turns = matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && character != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_command_a_terminal() {
        assert_eq!(
            sentence("red \u{1b}[31m\u{202e}\n\n  next\r\n\tend"),
            "red \u{FFFD}[31m\u{FFFD} |   next |  end"
        );
    }

    #[test]
    fn a_stranger_cannot_fill_a_log() {
        let long = sentence(&"é".repeat(1 << 20));
        assert!(long.ends_with('…') && long.len() <= SENTENCE + '…'.len_utf8(), "{}", long.len());
        assert_eq!(cut("short", SENTENCE), "short");
    }
}
