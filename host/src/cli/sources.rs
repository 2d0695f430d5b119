//! What `embergate index` is told to index, and how it is read.

use std::ffi::OsString;
use std::io::Read as _;

use clap::{Args, ValueEnum};

use super::Context;
use super::failure::Usage;
use crate::index::source::{Format, Options, RecordOptions, Root};

/// What stands for standard input.
const STANDARD: &str = "-";
const FOLDERS: &str = "Files and folders";
const RECORDS: &str = "Records in files";
const INPUT: &str = "Standard input";

#[derive(Debug, Args)]
pub(super) struct Sources {
    /// Files, folders, `https://` pages of allowed hosts, or `-` for standard input;
    /// without any, all that the collection was ever given
    #[arg(value_name = "SOURCE")]
    sources: Vec<OsString>,

    /// Only files that match, as gitignore has them, relative to the folder; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = FOLDERS)]
    include: Vec<String>,
    /// No files and folders that match; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = FOLDERS)]
    exclude: Vec<String>,
    /// Go where links in folders lead
    #[arg(long, help_heading = FOLDERS)]
    follow_links: bool,
    /// With files and folders whose names begin with a dot
    #[arg(long, help_heading = FOLDERS)]
    hidden: bool,
    /// With what gitignore files leave out
    #[arg(long, help_heading = FOLDERS)]
    no_ignore: bool,

    /// Which files hold records, each of them a document
    #[arg(long, value_enum, default_value_t = Records::Auto, value_name = "FORMAT", help_heading = RECORDS)]
    records: Records,
    /// A field with text; may be repeated; else `text`, `content` or `body`, else all of them
    #[arg(long, value_name = "FIELD", help_heading = RECORDS)]
    text_field: Vec<String>,
    /// The field that names a record; else `id` or `_id`, else its line does
    #[arg(long, value_name = "FIELD", help_heading = RECORDS)]
    id_field: Option<String>,
    /// The field with the title; else `title`
    #[arg(long, value_name = "FIELD", help_heading = RECORDS)]
    title_field: Option<String>,
    /// A field that is kept with the record for filters; may be repeated
    #[arg(long, value_name = "FIELD", help_heading = RECORDS)]
    metadata_field: Vec<String>,
    /// The first row of a table is a record; columns have numbers from 1
    #[arg(long, help_heading = RECORDS)]
    no_header: bool,
    /// What stands between columns; else what the first line has most of
    #[arg(long, value_name = "CHARACTER", help_heading = RECORDS)]
    delimiter: Option<char>,

    /// The name of what comes from standard input
    #[arg(long, value_name = "NAME", help_heading = INPUT)]
    id: Option<String>,
    /// Its media type, such as `text/markdown`
    #[arg(long, value_name = "TYPE", help_heading = INPUT)]
    media_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Records {
    /// Those named `.jsonl`, `.ndjson`, `.csv` or `.tsv`
    Auto,
    /// None: each file is one document
    Never,
    /// The files that are named hold lines of JSON
    Jsonl,
    /// The files that are named are tables
    Csv,
    /// The files that are named are tables with tabs
    Tsv,
}

impl From<Records> for Format {
    fn from(records: Records) -> Self {
        match records {
            Records::Auto => Self::Auto,
            Records::Never => Self::Never,
            Records::Jsonl => Self::Jsonl,
            Records::Csv => Self::Csv,
            Records::Tsv => Self::Tsv,
        }
    }
}

impl Sources {
    /// All that is named, with what is piped in read to its end.
    pub(super) async fn roots(&self, context: &Context) -> anyhow::Result<Vec<Root>> {
        let has_input = self.sources.iter().any(|source| source == STANDARD);
        if !has_input && (self.id.is_some() || self.media_type.is_some()) {
            let message = "--id and --media-type are for standard input, and `-` is not among the sources";
            return Err(Usage { message: message.into(), remedy: "add `-`, or leave them out".into() }.into());
        }
        let options = self.options();
        let mut roots = Vec::with_capacity(self.sources.len());
        for source in self.sources.iter().filter(|source| *source != STANDARD) {
            roots.push(match source.to_str().filter(|source| is_address(source)) {
                Some(url) => Root::Url { url: url.to_owned() },
                None => {
                    let path = source.to_string_lossy().into_owned();
                    Root::Path { path, options: options.clone(), linked: Default::default() }
                }
            });
        }
        if has_input {
            roots.push(self.standard(context).await?);
        }
        Ok(roots)
    }

    fn options(&self) -> Options {
        Options {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            follow_links: self.follow_links,
            hidden: self.hidden,
            no_ignore: self.no_ignore,
            records: RecordOptions {
                format: self.records.into(),
                text_fields: self.text_field.clone(),
                id_field: self.id_field.clone(),
                title_field: self.title_field.clone(),
                metadata_fields: self.metadata_field.clone(),
                no_header: self.no_header,
                delimiter: self.delimiter,
            },
        }
    }

    async fn standard(&self, context: &Context) -> anyhow::Result<Root> {
        let Some(name) = self.id.clone() else {
            let message = "what comes from standard input has no name".to_owned();
            return Err(Usage { message, remedy: "give it one with --id NAME".into() }.into());
        };
        let max_file = context.config.index.max_file.as_u64();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let input = std::io::stdin().lock();
            input.take(max_file.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = read.await??;
        if max_file < bytes.len() as u64 {
            let message = format!("standard input has more than the {max_file} bytes of `index.max_file`");
            return Err(Usage { message, remedy: "raise it, or index a file of records".into() }.into());
        }
        context.output.remark(&format!(
            "note: `stdin:{name}` is kept as it is now; only piping it in again brings it up to date"
        ));
        let media_type = self.media_type.clone().unwrap_or_else(|| "text/plain".to_owned());
        Ok(Root::Standard { name, media_type, bytes: Some(bytes.into()) })
    }
}

fn is_address(source: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| source.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}
