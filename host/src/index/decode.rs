//! Bytes → text: UTF-8, or what a byte order mark says. Anything else is
//! refused, never guessed, and nothing is replaced silently.

use crate::document::Span;

/// Why bytes are no text. Offsets count bytes of the file, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("it is not text: there is a zero byte at offset {offset}")]
    Binary { offset: usize },
    #[error("it is not UTF-8: there is a byte 0x{byte:02X} at offset {offset}; save it as UTF-8")]
    NotUtf8 { byte: u8, offset: usize },
    #[error(
        "its byte order mark says {encoding}, and the bytes at offset {offset} are none; save it as UTF-8"
    )]
    NotUnicode { encoding: &'static str, offset: usize },
}

/// A file's text, and the way back to its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) text: String,
    encoding: Encoding,
}

/// How many bytes of the file stand for a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// After a mark of so many bytes, 0 or 3.
    Utf8 {
        mark: usize,
    },
    Utf16,
    Utf32,
}

impl Decoded {
    /// Reads `bytes` as text without its byte order mark.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        match bytes.as_slice() {
            [0xEF, 0xBB, 0xBF, ..] => utf8(bytes, 3),
            [0xFF, 0xFE, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes, "UTF-32LE"),
            [0, 0, 0xFE, 0xFF, rest @ ..] => utf32(rest, u32::from_be_bytes, "UTF-32BE"),
            [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes, "UTF-16LE"),
            [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes, "UTF-16BE"),
            _ => utf8(bytes, 0),
        }
    }

    /// Where each of `spans` of the text stands in the file, in one pass if
    /// their ends ascend.
    pub(super) fn file_spans(&self, spans: &[Span]) -> Vec<Span> {
        let mut walk = Walk { text: &self.text, encoding: self.encoding, at: 0, in_file: 0 };
        spans.iter().map(|span| Span::new(walk.to(span.start), walk.to(span.end))).collect()
    }
}

/// Walks a text and the file that it came from side by side.
struct Walk<'t> {
    text: &'t str,
    encoding: Encoding,
    at: usize,
    in_file: usize,
}

impl Walk<'_> {
    fn to(&mut self, offset: usize) -> usize {
        let bytes_of: fn(char) -> usize = match self.encoding {
            Encoding::Utf8 { mark } => return offset + mark,
            Encoding::Utf16 => |character| 2 * character.len_utf16(),
            Encoding::Utf32 => |_| 4,
        };
        let mark = bytes_of('\u{FEFF}');
        let (from, to) = (self.at.min(offset), self.at.max(offset));
        let between = self.text.get(from..to).unwrap_or_default().chars().map(bytes_of).sum::<usize>();
        self.in_file = if offset < self.at { self.in_file - between } else { self.in_file + between };
        self.at = offset;
        self.in_file + mark
    }
}

fn utf8(mut bytes: Vec<u8>, mark: usize) -> Result<Decoded, DecodeError> {
    if let Some(offset) = memchr::memchr(0, &bytes) {
        return Err(DecodeError::Binary { offset });
    }
    bytes.drain(..mark);
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        DecodeError::NotUtf8 { byte, offset: at + mark }
    })?;
    Ok(Decoded { text, encoding: Encoding::Utf8 { mark } })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, encoding: &'static str) -> Result<Decoded, DecodeError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut offset = 2;
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| DecodeError::NotUnicode { encoding, offset })?;
        text.push(character);
        offset += 2 * character.len_utf16();
    }
    finish(text, rest, offset, encoding, Encoding::Utf16)
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32, encoding: &'static str) -> Result<Decoded, DecodeError> {
    let (fours, rest) = bytes.as_chunks::<4>();
    let mut offset = 4;
    let mut text = String::with_capacity(bytes.len());
    for four in fours {
        let character = char::from_u32(unit(*four)).ok_or(DecodeError::NotUnicode { encoding, offset })?;
        text.push(character);
        offset += 4;
    }
    finish(text, rest, offset, encoding, Encoding::Utf32)
}

fn finish(
    text: String,
    rest: &[u8],
    offset: usize,
    name: &'static str,
    encoding: Encoding,
) -> Result<Decoded, DecodeError> {
    if !rest.is_empty() {
        return Err(DecodeError::NotUnicode { encoding: name, offset });
    }
    let decoded = Decoded { text, encoding };
    match decoded.text.find('\0') {
        Some(at) => Err(DecodeError::Binary { offset: decoded.file_spans(&[Span::new(at, at)])[0].start }),
        None => Ok(decoded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], want: Result<&str, DecodeError>) {
        assert_eq!(Decoded::new(bytes.to_vec()).map(|decoded| decoded.text), want.map(str::to_owned));
    }

    /// Every character of the text, found again in the file through its span.
    #[track_caller]
    fn check_way_back(bytes: &[u8], decode: fn(&[u8]) -> String) {
        let decoded = Decoded::new(bytes.to_vec()).unwrap();
        let spans: Vec<_> = decoded
            .text
            .char_indices()
            .map(|(start, character)| Span::new(start, start + character.len_utf8()))
            .collect();
        let back = decoded.file_spans(&spans);
        for (span, in_file) in spans.iter().zip(back) {
            assert_eq!(decode(&bytes[in_file.start..in_file.end]), span.of(&decoded.text).unwrap());
        }
    }

    fn with_mark(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{FEFF}{text}").encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn utf8_is_read_with_and_without_a_mark() {
        check("çağ".as_bytes(), Ok("çağ"));
        check(b"\xEF\xBB\xBFabc", Ok("abc"));
        check(b"", Ok(""));
    }

    #[test]
    fn a_byte_order_mark_decides_the_encoding() {
        check(&with_mark("İstanbul 🌊", u16::to_le_bytes), Ok("İstanbul 🌊"));
        check(&with_mark("İstanbul 🌊", u16::to_be_bytes), Ok("İstanbul 🌊"));
        check(&[0xFF, 0xFE, 0, 0, 0x31, 1, 0, 0], Ok("ı"));
        check(&[0, 0, 0xFE, 0xFF, 0, 1, 0xF3, 0x0A], Ok("🌊"));
    }

    #[test]
    fn what_is_not_utf8_is_refused_by_byte_and_offset() {
        check(b"caf\xE9", Err(DecodeError::NotUtf8 { byte: 0xE9, offset: 3 }));
        check(b"\xEF\xBB\xBFcaf\xE9", Err(DecodeError::NotUtf8 { byte: 0xE9, offset: 6 }));
        check(b"cut \xC3", Err(DecodeError::NotUtf8 { byte: 0xC3, offset: 4 }));
    }

    #[test]
    fn a_zero_byte_makes_it_binary() {
        check(b"PK\x03\x04\0", Err(DecodeError::Binary { offset: 4 }));
    }

    #[test]
    fn half_a_character_of_utf16_is_refused() {
        let half = DecodeError::NotUnicode { encoding: "UTF-16LE", offset: 4 };
        check(&[0xFF, 0xFE, b'a', 0, b'b'], Err(half.clone()));
        check(&[0xFF, 0xFE, b'a', 0, 0x3D, 0xD8], Err(half));
    }

    #[test]
    fn spans_lead_back_to_the_bytes_of_the_file() {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        check_way_back("ağaç 🌊".as_bytes(), utf8);
        check_way_back("\u{FEFF}ağaç 🌊".as_bytes(), utf8);
        check_way_back(&with_mark("ağaç 🌊 x", u16::to_le_bytes), |bytes| {
            let units: Vec<_> =
                bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16(&units).unwrap()
        });
    }
}
