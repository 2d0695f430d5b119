//! The encoding of a file of records, told from its records one after another.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::split::Raw;
use crate::index::source::encoding::{Assumed, Encoding, SAMPLE, Says, detected};
use crate::index::source::text::{DecodeError, Text};
use crate::index::source::{Found, Limits};

/// The encoding of a file, which is asked for at its first record that is not ASCII.
#[derive(Default)]
pub(super) struct Script {
    pub(super) known: Option<(Encoding, Says)>,
}

impl Script {
    /// A record's text, and how it was read.
    pub(super) fn text<'b>(
        &mut self,
        file: &Found,
        limits: &Limits,
        raw: &Raw,
        bytes: &'b [u8],
    ) -> Result<(Cow<'b, str>, Encoding), DecodeError> {
        let is_wide = self.known.is_some_and(|(known, _)| 1 < known.width() || known.hides_in_ascii());
        let is_plain = !is_wide && bytes.is_ascii();
        let (encoding, says) = match self.known {
            _ if is_plain => (Encoding::Utf8, Says::Looks),
            Some(known) => known,
            None => *self.known.insert(sampled(file, limits, raw, bytes)),
        };
        if encoding != Encoding::Utf8 {
            let base = usize::try_from(raw.start).unwrap_or(usize::MAX);
            let text = Text::of_part(bytes.to_vec(), encoding, base, says)?;
            return Ok((Cow::Owned(text.text), encoding));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            DecodeError::Misfit { says, encoding: encoding.name(), byte, offset: raw.start + at as u64 }
        })?;
        match memchr::memchr(0, bytes) {
            Some(at) => Err(DecodeError::Binary { offset: raw.start + at as u64 }),
            None => Ok((Cow::Borrowed(text), encoding)),
        }
    }
}

/// What a file looks like from a record on that is not ASCII.
fn sampled(file: &Found, limits: &Limits, raw: &Raw, bytes: &[u8]) -> (Encoding, Says) {
    let read = || {
        let mut handle = File::open(&file.source)?;
        handle.seek(SeekFrom::Start(raw.start))?;
        let mut sample = Vec::new();
        handle.take(SAMPLE as u64).read_to_end(&mut sample)?;
        io::Result::Ok(sample)
    };
    let sample = read().unwrap_or_else(|_| bytes.to_vec());
    match (std::str::from_utf8(&sample), limits.assumed) {
        (Ok(_), _) => (Encoding::Utf8, Says::Looks),
        // The sample ends within a character.
        (Err(error), _) if error.error_len().is_none() && sample.len() == SAMPLE => {
            (Encoding::Utf8, Says::Looks)
        }
        (Err(_), Assumed::Always(encoding)) => (encoding, Says::Configuration),
        (Err(_), Assumed::Detect) => (detected(&sample, limits.language.as_deref()), Says::Looks),
    }
}
