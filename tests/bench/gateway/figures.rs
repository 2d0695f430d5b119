//! The figures that were taken last of each line, kept in `target/bench`, and the page made from them.

use std::fs;
use std::path::{Path, PathBuf};

use embergate_load::table::{Line, Subject, page, plot, why_not_whole};
use serde::{Deserialize, Serialize};

/// The page's picture, beside it.
const PLOT: &str = "benchmarks.svg";

/// One line of each name.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Figures {
    lines: Vec<Line>,
}

/// Where they are kept.
pub(crate) fn path() -> PathBuf {
    root().join("target/bench/gateway.json")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Figures {
    /// What is kept; nothing where it cannot be read, as that of another version of this program.
    pub(crate) fn read() -> Self {
        let kept = fs::read(path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.unwrap_or_default()
    }

    /// Keeps `lines` in the place of what was known of them.
    pub(crate) fn keep(lines: Vec<Line>) -> Result<(), String> {
        let mut kept = Self::read();
        kept.lines.retain(|other| lines.iter().all(|line| line.name != other.name));
        kept.lines.extend(lines);
        let json = serde_json::to_string_pretty(&kept).map_err(|error| error.to_string())?;
        write(&path(), &json)
    }

    /// Writes the page in `docs` and its picture; returns where they are.
    pub(crate) fn write_page(&self, subjects: &[&Subject]) -> Result<Vec<String>, String> {
        // In the table's order, and in today's words.
        let described = |subject: &&Subject| {
            let line = self.lines.iter().find(|line| line.name == subject.name)?;
            Some(line.clone().described(subject))
        };
        let lines: Vec<Line> = subjects.iter().filter_map(described).collect();
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name).collect();
        if let Some(reason) = why_not_whole(&names, &lines) {
            return Err(format!("the page is not written: {reason}"));
        }
        let docs = root().join("docs");
        let files = [(docs.join("benchmarks.md"), page(&lines, PLOT)), (docs.join(PLOT), plot(&lines))];
        for (path, content) in &files {
            write(path, content)?;
        }
        Ok(files.into_iter().map(|(path, _)| path.display().to_string()).collect())
    }
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    let failed = |error| format!("cannot write `{}`: {error}", path.display());
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(path, content).map_err(failed)
}
