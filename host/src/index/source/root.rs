//! What a run was given, checked: each place once, paths without links, addresses that may be asked.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::hosts::HostPattern;
use super::records::RecordOptions;
use super::{Found, Origin, is_at, media};

/// Characters of the name of what came from standard input, at most.
const MAX_NAME: usize = 1024;

/// Something to index. Kept with a collection, so that it can be brought up to date without
/// being named again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Root {
    /// A file or a folder.
    Path {
        path: String,
        #[serde(default)]
        options: Options,
        /// Places elsewhere that links in it led to.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        linked: BTreeSet<String>,
    },
    Url {
        url: String,
    },
    /// What was piped in: it is not there any more when the root is read from where it was kept.
    Standard {
        name: String,
        media_type: String,
        #[serde(skip)]
        bytes: Option<Bytes>,
    },
}

/// What of a folder is indexed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Files that match one of them, as gitignore has them, relative to the folder; all where none is.
    pub include: Vec<String>,
    /// Without files and folders that match one of them.
    pub exclude: Vec<String>,
    pub follow_links: bool,
    /// With what begins with a dot.
    pub hidden: bool,
    /// With what git would leave out.
    pub no_ignore: bool,
    pub records: RecordOptions,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read `{path}`")]
    Path {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{glob}` is no pattern of files: {reason}")]
    Glob { glob: String, reason: String },
    #[error("`{url}` is no address of a page: {reason}")]
    Url { url: String, reason: String },
    #[error("`{url}` may not be fetched: add `{host}` to `index.allowed_hosts`")]
    Host { url: String, host: String },
    #[error("`{name}` cannot name what comes from standard input: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("there is no media type `{media_type}`; there are: {known}")]
    MediaType { media_type: String, known: String },
    #[error(
        "`{delimiter}` cannot stand between columns: name one ASCII character other than a quote or a line end"
    )]
    Delimiter { delimiter: char },
    #[error("a field of records has an empty name")]
    Field,
}

impl Root {
    /// A file or a folder, as far as nothing else is said.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        let path = path.into().to_string_lossy().into_owned();
        Self::Path { path, options: Options::default(), linked: BTreeSet::new() }
    }

    /// The id of its one document; nothing for a folder, which has many.
    pub fn source(&self) -> Option<String> {
        match self {
            Self::Path { .. } => None,
            Self::Url { url } => Some(url.clone()),
            Self::Standard { name, .. } => Some(format!("stdin:{name}")),
        }
    }

    /// Returns whether its documents can be read again: what was piped in is gone.
    pub fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Standard { bytes: None, .. })
    }

    pub(in crate::index) fn to_json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns whether a document came from here, as far as its name and the links of earlier walks tell.
    pub(in crate::index) fn has(&self, source: &str) -> bool {
        match self {
            Self::Path { path, linked, .. } => {
                is_at(source, path) || linked.iter().any(|place| is_at(source, place))
            }
            Self::Url { .. } | Self::Standard { .. } => self.source().as_deref() == Some(source),
        }
    }

    /// The same place as it is kept, whether it is there any more or not.
    pub(in crate::index) fn absolute(self) -> Self {
        match self {
            Self::Path { path, options, linked } => {
                let there = Path::new(&path).canonicalize().or_else(|_| std::path::absolute(&path));
                let path = there.map_or(path, |there| there.to_string_lossy().into_owned());
                Self::Path { path, options, linked }
            }
            other => other,
        }
    }

    /// Where it is, as people write it.
    pub fn shown(&self) -> String {
        match self {
            Self::Path { path, .. } => path.clone(),
            Self::Url { url } => url.clone(),
            Self::Standard { .. } => self.source().unwrap_or_default(),
        }
    }

    /// Returns whether both are of one place, whatever their options are.
    pub(in crate::index) fn is_of_the_place_of(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// Where it is among the others: files and folders by path, then pages, then what is piped in.
    fn key(&self) -> (u8, String) {
        match self {
            Self::Path { path, .. } => (0, path.clone()),
            Self::Url { url } => (1, url.clone()),
            Self::Standard { name, .. } => (2, name.clone()),
        }
    }

    /// The one document of a root that is no path; nothing where it cannot be read again.
    pub(super) fn found(&self) -> Option<Found> {
        let source = self.source()?;
        match self {
            Self::Path { .. } | Self::Standard { bytes: None, .. } => None,
            Self::Url { url } => {
                let media_type = media::of_path(Path::new(url.split('?').next().unwrap_or_default()));
                Some(Found {
                    source,
                    size: 0,
                    // No record has it: a page is always asked for.
                    modified: i64::MAX,
                    media_type,
                    origin: Origin::Url { media_type, etag: None, last_modified: None },
                })
            }
            Self::Standard { media_type, bytes: Some(bytes), .. } => {
                let hash = blake3::hash(bytes);
                let (stamp, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
                Some(Found {
                    source,
                    size: bytes.len() as u64,
                    modified: i64::from_le_bytes(*stamp),
                    media_type: media::known(media_type).unwrap_or(media::PLAIN),
                    origin: Origin::Given(Some(bytes.clone())),
                })
            }
        }
    }
}

/// Checks each root and puts them in order; of those of one place the last one counts.
pub(super) fn checked(roots: Vec<Root>, config: &super::super::Config) -> Result<Vec<Root>, SourceError> {
    let mut checked = BTreeMap::new();
    for root in roots {
        let root = match root {
            Root::Path { path, options, linked } => {
                Root::Path { path: checked_path(&path, &options)?, options, linked }
            }
            Root::Url { url } => Root::Url { url: checked_url(&url, &config.allowed_hosts)? },
            Root::Standard { name, media_type, bytes } => {
                check_name(&name)?;
                check_media_type(&media_type)?;
                Root::Standard { name, media_type, bytes }
            }
        };
        checked.insert(root.key(), root);
    }
    Ok(checked.into_values().collect())
}

/// Without links. A folder that cannot be listed is an error, not an empty one.
fn checked_path(path: &str, options: &Options) -> Result<String, SourceError> {
    let at = |source| SourceError::Path { path: path.to_owned(), source };
    let found = Path::new(path).canonicalize().map_err(at)?;
    if found.metadata().map_err(at)?.is_dir() {
        std::fs::read_dir(&found).map_err(at)?;
    }
    Rules::new(&found, options)?;
    check_records(&options.records)?;
    found.into_os_string().into_string().map_err(|_| at(std::io::Error::other("the path is not UTF-8")))
}

fn check_records(options: &RecordOptions) -> Result<(), SourceError> {
    let RecordOptions { text_fields, id_field, title_field, metadata_fields, delimiter, .. } = options;
    let mut fields = text_fields.iter().chain(id_field).chain(title_field).chain(metadata_fields);
    if fields.any(String::is_empty) {
        return Err(SourceError::Field);
    }
    match delimiter {
        Some(delimiter) if !delimiter.is_ascii() || ['"', '\n', '\r'].contains(delimiter) => {
            Err(SourceError::Delimiter { delimiter: *delimiter })
        }
        _ => Ok(()),
    }
}

/// As it is asked for: without a part of the page, and without a password, which would be kept and shown.
fn checked_url(url: &str, allowed: &[HostPattern]) -> Result<String, SourceError> {
    let wrong = |reason: &str| SourceError::Url { url: url.to_owned(), reason: reason.to_owned() };
    let mut parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
        return Err(wrong("it does not begin with `https://` and a host"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("it has a user or a password in it"));
    }
    parsed.set_fragment(None);
    if !allowed.iter().any(|pattern| pattern.matches(&parsed)) {
        return Err(SourceError::Host { url: url.to_owned(), host: HostPattern::of(&parsed).to_string() });
    }
    Ok(parsed.into())
}

fn check_name(name: &str) -> Result<(), SourceError> {
    let reason = match name {
        "" => "it is empty",
        _ if MAX_NAME < name.len() => "it is longer than 1,024 bytes",
        _ if name.chars().any(char::is_control) => "there is a control character in it",
        _ => return Ok(()),
    };
    Err(SourceError::Name { name: name.chars().take(80).collect(), reason })
}

fn check_media_type(media_type: &str) -> Result<(), SourceError> {
    if media::known(media_type).is_some() {
        return Ok(());
    }
    let known = media::all().collect::<Vec<_>>().join(", ");
    Err(SourceError::MediaType { media_type: media_type.to_owned(), known })
}

/// Which files of a folder are wanted.
#[derive(Debug)]
pub(super) struct Rules {
    include: Option<Gitignore>,
    exclude: Option<Gitignore>,
}

impl Rules {
    pub(super) fn new(folder: &Path, options: &Options) -> Result<Self, SourceError> {
        Ok(Self { include: matcher(folder, &options.include)?, exclude: matcher(folder, &options.exclude)? })
    }

    /// Returns whether a file is wanted; it stands in the folder.
    pub(super) fn include(&self, path: &Path) -> bool {
        let include = self.include.as_ref();
        include.is_none_or(|include| include.matched_path_or_any_parents(path, false).is_ignore())
    }

    /// Returns whether a file is not wanted, or anything in a folder.
    pub(super) fn exclude(&self, path: &Path, is_folder: bool) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.matched(path, is_folder).is_ignore())
    }
}

fn matcher(folder: &Path, globs: &[String]) -> Result<Option<Gitignore>, SourceError> {
    if globs.is_empty() {
        return Ok(None);
    }
    let wrong = |glob: &str, error: &ignore::Error| SourceError::Glob {
        glob: glob.to_owned(),
        reason: match error {
            ignore::Error::Glob { err, .. } => err.clone(),
            other => other.to_string(),
        },
    };
    let mut builder = GitignoreBuilder::new(folder);
    for glob in globs {
        builder.add_line(None, glob).map_err(|error| wrong(glob, &error))?;
    }
    builder.build().map(Some).map_err(|error| wrong(&globs.join(" "), &error))
}
