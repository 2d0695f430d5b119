//! Where a document came from, in a form that is kept with it: so that it can be read again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::records::{Record, RecordFile, Shape};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file that its source names.
    File,
    /// A part of a file.
    Record(Record),
    /// The address that its source is, with what its server said last to tell whether it changed.
    Url { etag: Option<String>, last_modified: Option<String> },
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
            Self::Url { etag, last_modified } => {
                Kept::Url { etag: etag.clone(), last_modified: last_modified.clone() }
            }
            Self::Given(_) => Kept::Given,
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What [`to_json`](Self::to_json) wrote; nothing for anything else.
    pub fn from_json(json: &str) -> Option<Self> {
        Some(match serde_json::from_str(json).ok()? {
            Kept::File => Self::File,
            Kept::Record { file, start, end, line, encoding, shape } => {
                let file = RecordFile::new(&file, shape, Encoding::named(&encoding)?);
                (start <= end).then_some(Self::Record(Record { file, start, end, line }))?
            }
            Kept::Url { etag, last_modified } => Self::Url { etag, last_modified },
            Kept::Given => Self::Given(None),
        })
    }
}
