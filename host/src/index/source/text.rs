//! Bytes → text, strictly: a byte that does not fit refuses the file, and nothing is replaced.

use encoding_rs::DecoderResult;

use super::encoding::{Assumed, Encoding, Says, declared, detected};
use super::kind;
use super::layout::Layout;
use crate::document::Span;

/// Characters of an unknown encoding's name that are told.
const MAX_LABEL: usize = 40;

/// Why bytes are no text. Offsets count bytes of the file, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("it is {kind}, not text")]
    Kind { kind: &'static str },
    #[error("it is not text: there is a zero byte at offset {offset}")]
    Binary { offset: u64 },
    #[error("it is not text: there is a control character 0x{byte:02X} at offset {offset}")]
    Control { byte: u8, offset: u64 },
    #[error(
        "it looks like {encoding}, and the byte 0x{byte:02X} at offset {offset} is none of it: save it as UTF-8, or name its encoding with `index.encoding`"
    )]
    Unknown { encoding: &'static str, byte: u8, offset: u64 },
    #[error(
        "{says} {encoding}, and the byte 0x{byte:02X} at offset {offset} is none of it: save it as UTF-8"
    )]
    Misfit { says: Says, encoding: &'static str, byte: u8, offset: u64 },
    #[error("{says} `{label}`, and there is no such encoding: save it as UTF-8")]
    Label { says: Says, label: String },
    #[error("line {line}: {reason}")]
    Record { line: u64, reason: String },
}

impl DecodeError {
    /// Returns whether there is nothing to index, not something that went wrong.
    pub fn is_no_text(&self) -> bool {
        match self {
            Self::Kind { .. } | Self::Binary { .. } | Self::Control { .. } | Self::Unknown { .. } => true,
            Self::Misfit { .. } | Self::Label { .. } | Self::Record { .. } => false,
        }
    }

    /// The same of bytes that begin at `base` of the file.
    pub(super) fn moved(self, base: u64) -> Self {
        let mut moved = self;
        match &mut moved {
            Self::Binary { offset }
            | Self::Control { offset, .. }
            | Self::Unknown { offset, .. }
            | Self::Misfit { offset, .. } => *offset += base,
            Self::Kind { .. } | Self::Label { .. } | Self::Record { .. } => {}
        }
        moved
    }
}

/// What is known of bytes before one looks at them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints<'h> {
    pub(super) assumed: Assumed,
    /// BCP 47, of the collection.
    pub(super) language: Option<&'h str>,
    /// What a server called it.
    pub(super) charset: Option<&'h str>,
    pub(super) media_type: &'static str,
}

/// A text, and the way back to the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) encoding: Encoding,
    layout: Layout,
    /// Bytes of the file before the text.
    base: usize,
}

impl Text {
    /// Reads `bytes` as text without its byte order mark.
    pub(super) fn new(bytes: Vec<u8>, hints: &Hints<'_>) -> Result<Self, DecodeError> {
        if let Some(kind) = kind::written(&bytes) {
            return Err(DecodeError::Kind { kind });
        }
        if let Some((encoding, mark)) = Encoding::of_mark(&bytes) {
            return Self::marked(bytes, encoding, mark, Says::Mark);
        }
        let said = said(&bytes, hints)?;
        let assumed = match hints.assumed {
            Assumed::Detect => None,
            Assumed::Always(encoding) => Some((Says::Configuration, encoding)),
        };
        let before_utf8 =
            |encoding: Encoding| 1 < encoding.width() || (encoding.hides_in_ascii() && bytes.contains(&0x1B));
        if let Some((says, encoding)) = said.or(assumed).filter(|(_, encoding)| before_utf8(*encoding)) {
            return Self::marked(bytes, encoding, 0, says);
        }
        if let Some(offset) = memchr::memchr(0, &bytes) {
            let binary = DecodeError::Binary { offset: offset as u64 };
            return Err(kind::binary(&bytes).map_or(binary, |kind| DecodeError::Kind { kind }));
        }
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => return Ok(Self { text, encoding: Encoding::Utf8, layout: Layout::Same, base: 0 }),
            Err(error) => error.into_bytes(),
        };
        match said.or(assumed) {
            Some((says, encoding)) => Self::marked(bytes, encoding, 0, says),
            None => Self::looked_at(bytes, hints.language),
        }
    }

    /// Reads `bytes`, which begin at byte `base` of the file and have no mark.
    pub(super) fn of_part(
        bytes: Vec<u8>,
        encoding: Encoding,
        base: usize,
        says: Says,
    ) -> Result<Self, DecodeError> {
        let text = Self::marked(bytes, encoding, 0, says).map_err(|error| error.moved(base as u64))?;
        Ok(Self { base, ..text })
    }

    fn looked_at(bytes: Vec<u8>, language: Option<&str>) -> Result<Self, DecodeError> {
        if let Some(kind) = kind::binary(&bytes) {
            return Err(DecodeError::Kind { kind });
        }
        if let Some(offset) = bytes.iter().position(|byte| is_control(*byte)) {
            return Err(DecodeError::Control { byte: bytes[offset], offset: offset as u64 });
        }
        let encoding = detected(&bytes, language);
        Self::marked(bytes, encoding, 0, Says::Looks)
    }

    /// Strictly as `encoding` has it, behind a mark of so many bytes.
    fn marked(mut bytes: Vec<u8>, encoding: Encoding, mark: usize, says: Says) -> Result<Self, DecodeError> {
        let read = match encoding {
            Encoding::Utf8 => {
                bytes.drain(..mark);
                utf8(bytes)
            }
            Encoding::Utf16 { big } => utf16(&bytes[mark..], big),
            Encoding::Utf32 { big } => utf32(&bytes[mark..], big),
            Encoding::Legacy(legacy) if legacy.is_single_byte() => single_byte(&bytes, legacy),
            Encoding::Legacy(legacy) => multi_byte(&bytes, legacy),
        };
        let (text, layout) = read.map_err(|Misfit { byte, offset }| {
            let (encoding, offset) = (encoding.name(), (mark + offset) as u64);
            if says == Says::Looks && encoding != Encoding::Utf8.name() {
                DecodeError::Unknown { encoding, byte, offset }
            } else {
                DecodeError::Misfit { says, encoding, byte, offset }
            }
        })?;
        let decoded = Self { text, encoding, layout, base: mark };
        match decoded.text.find('\0') {
            Some(at) => {
                let place = decoded.spans(&[Span::new(at, at)]);
                Err(DecodeError::Binary { offset: place[0].start as u64 })
            }
            None => Ok(decoded),
        }
    }

    /// Where each of `spans` of the text stands in the file, in one pass if their ends ascend.
    pub(super) fn spans(&self, spans: &[Span]) -> Vec<Span> {
        let mut placed = self.layout.spans(&self.text, spans);
        placed.iter_mut().for_each(|span| *span = Span::new(span.start + self.base, span.end + self.base));
        placed
    }
}

/// What the server or the page itself says. A page that can be read says no UTF-16.
fn said(bytes: &[u8], hints: &Hints<'_>) -> Result<Option<(Says, Encoding)>, DecodeError> {
    let by_server = hints.charset.map(|label| (Says::Server, label));
    let said = by_server.or_else(|| declared(bytes, hints.media_type).map(|label| (Says::Page, label)));
    let Some((says, label)) = said else { return Ok(None) };
    match Encoding::named(label) {
        Some(encoding) if says == Says::Page && 1 < encoding.width() => Ok(Some((says, Encoding::Utf8))),
        Some(encoding) => Ok(Some((says, encoding))),
        None => Err(DecodeError::Label { says, label: label.chars().take(MAX_LABEL).collect() }),
    }
}

/// Returns whether a byte is one that people do not write: all but tabs, line ends, page ends and escapes.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0C | 0x1B)) || byte == 0x7F
}

/// The first byte that is none of an encoding.
struct Misfit {
    byte: u8,
    offset: usize,
}

impl Misfit {
    fn at(bytes: &[u8], offset: usize) -> Self {
        Self { byte: bytes.get(offset).copied().unwrap_or_default(), offset }
    }
}

type Read = Result<(String, Layout), Misfit>;

fn utf8(bytes: Vec<u8>) -> Read {
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, Layout::Same)),
        Err(error) => Err(Misfit::at(error.as_bytes(), error.utf8_error().valid_up_to())),
    }
}

fn utf16(bytes: &[u8], big: bool) -> Read {
    let unit = if big { u16::from_be_bytes } else { u16::from_le_bytes };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut offset = 0;
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| Misfit::at(bytes, offset))?;
        text.push(character);
        offset += 2 * character.len_utf16();
    }
    if rest.is_empty() { Ok((text, Layout::Utf16)) } else { Err(Misfit::at(bytes, offset)) }
}

fn utf32(bytes: &[u8], big: bool) -> Read {
    let unit = if big { u32::from_be_bytes } else { u32::from_le_bytes };
    let (fours, rest) = bytes.as_chunks::<4>();
    let mut text = String::with_capacity(bytes.len());
    for (index, four) in fours.iter().enumerate() {
        text.push(char::from_u32(unit(*four)).ok_or_else(|| Misfit::at(bytes, 4 * index))?);
    }
    if rest.is_empty() { Ok((text, Layout::Four)) } else { Err(Misfit::at(bytes, 4 * fours.len())) }
}

/// Control characters above ASCII are what these encodings have where they have nothing.
fn single_byte(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> Read {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text =
        String::with_capacity(decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(0));
    let (result, n_read) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
    if let DecoderResult::Malformed(length, after) = result {
        return Err(Misfit::at(bytes, n_read - usize::from(length) - usize::from(after)));
    }
    match text.chars().position(|character| ('\u{80}'..='\u{9F}').contains(&character)) {
        Some(offset) => Err(Misfit::at(bytes, offset)),
        None => Ok((text, Layout::One)),
    }
}

/// One byte at a time where it is no ASCII: so it is known which bytes each character took.
fn multi_byte(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> Read {
    let is_plain = !Encoding::Legacy(encoding).hides_in_ascii();
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    let mut lengths = Vec::with_capacity(bytes.len());
    let (mut at, mut n_taken) = (0, 0_u8);
    while at < bytes.len() {
        if is_plain && n_taken == 0 {
            let n_plain = encoding_rs::Encoding::ascii_valid_up_to(&bytes[at..]);
            text.extend(bytes[at..at + n_plain].iter().map(|byte| char::from(*byte)));
            lengths.resize(lengths.len() + n_plain, 1);
            at += n_plain;
            if at == bytes.len() {
                break;
            }
        }
        let before = text.len();
        text.reserve(16);
        let is_last = at + 1 == bytes.len();
        let (result, _) = decoder.decode_to_string_without_replacement(&bytes[at..=at], &mut text, is_last);
        at += 1;
        n_taken = n_taken.saturating_add(1);
        if let DecoderResult::Malformed(length, after) = result {
            return Err(Misfit::at(bytes, at.saturating_sub(usize::from(length) + usize::from(after))));
        }
        // Some characters of the file are two of the text: the second one took nothing.
        for _ in text[before..].chars() {
            lengths.push(std::mem::take(&mut n_taken));
        }
    }
    Ok((text, Layout::Each(lengths.into())))
}

#[cfg(test)]
mod tests;
