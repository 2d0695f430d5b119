//! `embergate search`

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::output::{Output, printable, shown_path};
use super::snippet::Snippet;
use super::through::Through;
use super::{Context, Ending};
use crate::search::{Found, Ranking, SearchAnswer, SearchRequest};
use crate::store::Payload;

/// Before what belongs to a result.
const INDENT: &str = "    ";
/// Results in an answer, at most.
const MAX_LIMIT: u64 = 1000;

/// Search a collection by meaning and by words.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  embergate search \"how do I install it\" --collection docs
  embergate search \"error E0277\" --collection docs --ranking sparse --limit 3
  embergate search kurulum --collection belgeler --json | jq '.results[0].source'")]
pub(super) struct Search {
    /// What you want to know
    question: String,
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// Results, at most
    #[arg(long, short, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT), value_name = "N")]
    limit: u64,
    /// Vectors and words together, vectors alone, or words alone
    #[arg(long, value_enum, default_value_t = By::Hybrid)]
    ranking: By,
    #[command(flatten)]
    through: Through,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Hybrid,
    Dense,
    Sparse,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Dense => "dense",
            Self::Sparse => "sparse",
        }
    }
}

impl From<By> for Ranking {
    fn from(by: By) -> Self {
        match by {
            By::Hybrid => Self::Hybrid,
            By::Dense => Self::Dense,
            By::Sparse => Self::Sparse,
        }
    }
}

impl Search {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let context = &self.through.context(context)?;
        let app = context.start().await?;
        let (store, _) = app.open_store().await?;
        let request = SearchRequest {
            collection: self.collection.clone(),
            question: self.question.clone(),
            limit: usize::try_from(self.limit)?,
            ranking: self.ranking.into(),
            filter: None,
        };
        let SearchAnswer { found, language, notices } = app.searcher(store).search(request).await?;
        for notice in &notices {
            context.output.remark(&format!("note: {notice}"));
        }
        if context.output.json {
            context.output.json(&self.document(&found, &notices))?;
        } else {
            self.print(&context.output, &found, language.as_deref())?;
        }
        app.stop().await;
        Ok(Ending::Done)
    }

    fn document(&self, found: &[Found], notices: &[String]) -> Value {
        let results: Vec<Value> = found.iter().enumerate().map(|(at, found)| result(at + 1, found)).collect();
        json!({
            "collection": self.collection,
            "question": self.question,
            "ranking": self.ranking.word(),
            "notices": notices,
            "results": results,
        })
    }

    fn print(&self, output: &Output, found: &[Found], language: Option<&str>) -> std::io::Result<()> {
        if found.is_empty() {
            output.remark("nothing found");
        }
        let snippet = Snippet::new(&self.question, language, output.width() - INDENT.len());
        for (at, Found { score, payload, .. }) in found.iter().enumerate() {
            let headings = headings(payload);
            let part = snippet.part(&payload.text, &headings, |word| output.marked(word));
            let place = place(payload, line_of(payload, part.start));
            output.line(&format!("{:>2}  {score:.3}  {}", at + 1, output.strong(&place)))?;
            if !headings.is_empty() {
                output.line(&format!("{INDENT}{}", output.faint(&printable(&headings.join(" › ")))))?;
            }
            for row in part.rows {
                output.line(&format!("{INDENT}{row}"))?;
            }
        }
        Ok(())
    }
}

/// The document's title, where the first heading does not say the same, and the headings.
fn headings(payload: &Payload) -> Vec<String> {
    let title = payload.title.iter().filter(|title| payload.headings.first() != Some(title));
    title.chain(&payload.headings).cloned().collect()
}

/// As editors read it; a line that is none of the file is not said to be one.
fn place(payload: &Payload, line: u32) -> String {
    let source = shown_path(&payload.source);
    if payload.extracted {
        format!("{source}, line {line} of its extracted text")
    } else {
        format!("{source}:{line}")
    }
}

/// The line on which a part of a chunk's text begins, where the text stands in
/// the file as it was stored; else that on which the chunk does.
fn line_of(payload: &Payload, start: usize) -> u32 {
    let before = payload.text.get(..start).filter(|_| stands_in_file(payload)).unwrap_or_default();
    payload.line + before.matches('\n').count() as u32
}

/// Reads no more of the file than the chunk, and nothing that is no file any more.
fn stands_in_file(payload: &Payload) -> bool {
    let Some(span) = payload.span.filter(|span| !payload.extracted && span.len() == payload.text.len())
    else {
        return false;
    };
    let read = || {
        let mut bytes = vec![0; span.len()];
        if std::fs::metadata(&payload.source)?.is_file() {
            let mut file = File::open(&payload.source)?;
            file.seek(SeekFrom::Start(span.start as u64))?;
            file.read_exact(&mut bytes)?;
        }
        std::io::Result::Ok(bytes)
    };
    read().is_ok_and(|bytes| bytes == payload.text.as_bytes())
}

fn result(rank: usize, found: &Found) -> Value {
    let Payload {
        source, media_type, title, headings, text, span, extracted, line, ordinal, metadata, ..
    } = &found.payload;
    json!({
        "rank": rank,
        "score": found.score,
        "dense": found.dense,
        "sparse": found.sparse,
        "id": found.id.to_string(),
        "source": source,
        "line": line,
        "span": span.map(|span| [span.start, span.end]),
        "extracted": extracted,
        "media_type": media_type,
        "title": title,
        "headings": headings,
        "ordinal": ordinal,
        "text": text,
        "metadata": metadata,
    })
}
