//! Keeps every event on one line, whatever an upstream, a plugin or a client made it say.

use std::borrow::Cow;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

const ESCAPE: u8 = 0x1b;

/// Makes writers that escape control characters, but for the end of each event.
pub(super) struct Lines<W> {
    to: fn() -> W,
    /// Escape sequences stay. Those in what is logged were escaped before.
    colour: bool,
}

impl<W> Lines<W> {
    pub(super) fn new(to: fn() -> W, colour: bool) -> Self {
        Self { to, colour }
    }
}

impl<W: io::Write> MakeWriter<'_> for Lines<W> {
    type Writer = Line<W>;

    fn make_writer(&self) -> Line<W> {
        Line { to: (self.to)(), colour: self.colour }
    }
}

/// Where one event is written to, all of it at once.
pub(super) struct Line<W> {
    to: W,
    colour: bool,
}

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.to.write_all(&escaped(event, self.colour))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn escaped(event: &[u8], colour: bool) -> Cow<'_, [u8]> {
    let (text, end) = match event.split_last() {
        Some((b'\n', text)) => (text, &event[text.len()..]),
        _ => (event, &[][..]),
    };
    let is_harmless = |byte: &u8| !byte.is_ascii_control() || (colour && *byte == ESCAPE);
    if text.iter().all(is_harmless) {
        return Cow::Borrowed(event);
    }
    let mut line = Vec::with_capacity(event.len() + 16);
    for byte in text {
        match is_harmless(byte) {
            true => line.push(*byte),
            false => line.extend(byte.escape_ascii()),
        }
    }
    line.extend_from_slice(end);
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &str, colour: bool, want: &str) {
        assert_eq!(escaped(event.as_bytes(), colour), want.as_bytes());
    }

    #[test]
    fn the_end_of_an_event_is_the_only_control_character() {
        check("INFO fine é\n", false, "INFO fine é\n");
        check("a\nINFO b\r\u{0}\n", false, "a\\nINFO b\\r\\x00\n");
        check("\n\n", false, "\\n\n");
        check("", false, "");
    }

    #[test]
    fn colours_stay_where_they_are_wanted() {
        check("\u{1b}[2mINFO\u{1b}[0m a\tb\n", true, "\u{1b}[2mINFO\u{1b}[0m a\\tb\n");
        check("\u{1b}[2m\n", false, "\\x1b[2m\n");
    }
}
