//! Where words go: results to stdout, remarks to stderr, colour to terminals only.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// Columns where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
    /// Whether stdout shows colour.
    colour: bool,
    /// Whether the log on stderr shows colour.
    pub(super) log_colour: bool,
    /// Whether stderr is a terminal: then long work draws a bar there.
    pub(super) bars: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let stderr = io::stderr().is_terminal();
        let painting = wants_colour();
        Self {
            json,
            quiet,
            colour: !json && painting && io::stdout().is_terminal(),
            log_colour: painting && stderr,
            bars: stderr && !json && !quiet,
        }
    }

    /// Writes a line of the result.
    pub(super) fn line(&self, line: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{line}")
    }

    /// Writes one JSON document, or one event, on one line.
    pub(super) fn json(&self, value: &Value) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{value}")?;
        stdout.flush()
    }

    /// Writes rows below a header, their columns side by side and no wider than the terminal.
    pub(super) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
    ) -> io::Result<()> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width()).unwrap_or(u16::MAX));
        table.set_header(header).add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }

    /// Says something on the way to people who want to hear it; programs get it as JSON or not at all.
    pub(super) fn remark(&self, line: &str) {
        if !self.quiet && !self.json {
            self.complain(line);
        }
    }

    /// Says what must not be missed. There is nobody to tell when stderr is closed.
    pub(super) fn complain(&self, line: &str) {
        drop(writeln!(io::stderr().lock(), "{line}"));
    }

    pub(super) fn strong(&self, text: &str) -> String {
        self.painted(Style::new().bold(), text)
    }

    pub(super) fn faint(&self, text: &str) -> String {
        self.painted(Style::new().dimmed(), text)
    }

    pub(super) fn marked(&self, text: &str) -> String {
        self.painted(AnsiColor::Yellow.on_default(), text)
    }

    fn painted(&self, style: Style, text: &str) -> String {
        match self.colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }

    /// Columns for text, not so many that lines are hard to read.
    pub(super) fn width(&self) -> usize {
        let terminal = Table::new().width().map(usize::from);
        terminal.filter(|_| io::stdout().is_terminal()).unwrap_or(DEFAULT_WIDTH).clamp(40, 120)
    }
}

/// Relative to the current folder, for what is below it.
pub(super) fn shown_path(source: &str) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_ref().and_then(|here| Path::new(source).strip_prefix(here).ok());
    printable(&below.map_or_else(|| source.to_owned(), |path| path.display().to_string()))
}

/// Without what would steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && !dumb
}
