//! Where a document came from, in a form that is kept with it: so that it can be read again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::media;
use super::records::{Record, RecordFile, Shape};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file that its source names.
    File,
    /// A part of a file.
    Record(Record),
    /// The address that its source is, with what its server said last: what it is, and what tells
    /// whether it changed.
    Url { media_type: &'static str, etag: Option<String>, last_modified: Option<String> },
    /// Bytes that were handed in; nothing once they are gone.
    Given(Option<Bytes>),
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kept {
    File,
    Record {
        file: String,
        start: u64,
        end: u64,
        line: u64,
        encoding: String,
        shape: Shape,
    },
    Url {
        media_type: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        etag: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_modified: Option<String>,
    },
    Given,
}

impl Origin {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let kept = match self {
            Self::File => Kept::File,
            Self::Record(Record { file, start, end, line }) => Kept::Record {
                file: file.path.clone(),
                start: *start,
                end: *end,
                line: *line,
                encoding: file.encoding.name().to_owned(),
                shape: file.shape.clone(),
            },
            Self::Url { media_type, etag, last_modified } => Kept::Url {
                media_type: (*media_type).to_owned(),
                etag: etag.clone(),
                last_modified: last_modified.clone(),
            },
            Self::Given(_) => Kept::Given,
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// As it is kept with a document: nothing for a file, which its source names.
    pub fn kept(&self) -> String {
        if *self == Self::File { String::new() } else { self.to_json() }
    }

    /// What a server said of the version that it gave.
    pub fn etag(&self) -> Option<&str> {
        match self {
            Self::Url { etag, .. } => etag.as_deref(),
            Self::File | Self::Record(_) | Self::Given(_) => None,
        }
    }

    /// What [`to_json`](Self::to_json) wrote; nothing for anything else.
    pub fn from_json(json: &str) -> Option<Self> {
        Some(match serde_json::from_str(json).ok()? {
            Kept::File => Self::File,
            Kept::Record { file, start, end, line, encoding, shape } => {
                let file = RecordFile::new(&file, shape, Encoding::named(&encoding)?);
                (start <= end).then_some(Self::Record(Record { file, start, end, line }))?
            }
            Kept::Url { media_type, etag, last_modified } => {
                Self::Url { media_type: media::known(&media_type)?, etag, last_modified }
            }
            Kept::Given => Self::Given(None),
        })
    }
}
