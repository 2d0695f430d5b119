//! Which encoding a file is in: what its first bytes say, else what is written in it or around it,
//! else what its bytes look like.

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are looked at to tell an encoding.
pub(super) const SAMPLE: usize = 1 << 20;
/// ASCII before the first other byte that is looked at with it: words show what letters are.
const CONTEXT: usize = 256;
/// Bytes in which a page says its encoding.
const HEAD: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16 {
        big: bool,
    },
    Utf32 {
        big: bool,
    },
    /// Any other, by the name that the Encoding Standard has for it.
    Legacy(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// By any of its names, in any case.
    pub fn named(label: &str) -> Option<Self> {
        match label.trim().to_ascii_lowercase().as_str() {
            "utf-32" | "utf-32le" => return Some(Self::Utf32 { big: false }),
            "utf-32be" => return Some(Self::Utf32 { big: true }),
            _ => {}
        }
        let encoding = encoding_rs::Encoding::for_label(label.trim().as_bytes())?;
        match encoding {
            _ if encoding == UTF_8 => Some(Self::Utf8),
            _ if encoding == UTF_16LE => Some(Self::Utf16 { big: false }),
            _ if encoding == UTF_16BE => Some(Self::Utf16 { big: true }),
            _ if encoding == REPLACEMENT || encoding == X_USER_DEFINED => None,
            _ => Some(Self::Legacy(encoding)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16 { big: false } => "UTF-16LE",
            Self::Utf16 { big: true } => "UTF-16BE",
            Self::Utf32 { big: false } => "UTF-32LE",
            Self::Utf32 { big: true } => "UTF-32BE",
            Self::Legacy(encoding) => encoding.name(),
        }
    }

    /// What a byte order mark says, and how long it is.
    pub(super) fn of_mark(bytes: &[u8]) -> Option<(Self, usize)> {
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => Some((Self::Utf8, 3)),
            [0xFF, 0xFE, 0, 0, ..] => Some((Self::Utf32 { big: false }, 4)),
            [0, 0, 0xFE, 0xFF, ..] => Some((Self::Utf32 { big: true }, 4)),
            [0xFF, 0xFE, ..] => Some((Self::Utf16 { big: false }, 2)),
            [0xFE, 0xFF, ..] => Some((Self::Utf16 { big: true }, 2)),
            _ => None,
        }
    }

    /// Bytes of the smallest part of a character.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Utf8 | Self::Legacy(_) => 1,
            Self::Utf16 { .. } => 2,
            Self::Utf32 { .. } => 4,
        }
    }

    /// Returns whether text in it can be all ASCII and mean something else.
    pub(super) fn hides_in_ascii(self) -> bool {
        self == Self::Legacy(ISO_2022_JP)
    }
}

/// What a file is in that does not say it and is no UTF-8: `index.encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assumed {
    /// As it looks.
    #[default]
    Detect,
    Always(Encoding),
}

impl fmt::Display for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detect => f.write_str("detect"),
            Self::Always(encoding) => f.write_str(&encoding.name().to_ascii_lowercase()),
        }
    }
}

impl Serialize for Assumed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Assumed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = String::deserialize(deserializer)?;
        if label.eq_ignore_ascii_case("detect") {
            return Ok(Self::Detect);
        }
        Encoding::named(&label).map(Self::Always).ok_or_else(|| {
            D::Error::custom(format!(
                "`{label}` is no encoding: write `detect`, `utf-8`, or a name such as `windows-1254`"
            ))
        })
    }
}

/// Where somebody says which encoding bytes are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Mark,
    Server,
    Page,
    Configuration,
    /// Nobody: it looks like it.
    Looks,
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mark => "its byte order mark says",
            Self::Server => "its server says",
            Self::Page => "it says of itself",
            Self::Configuration => "`index.encoding` says",
            Self::Looks => "it looks like",
        })
    }
}

/// The label that a page or an XML document has for its own encoding.
pub(super) fn declared<'b>(bytes: &'b [u8], media_type: &str) -> Option<&'b str> {
    let head = &bytes[..bytes.len().min(HEAD)];
    if head.starts_with(b"<?xml") {
        let end = memchr::memmem::find(head, b"?>")?;
        return value_of(&head[..end], b"encoding");
    }
    if media_type == super::media::HTML { meta(head) } else { None }
}

/// Of the first `<meta>` outside comments that has one.
fn meta(head: &[u8]) -> Option<&str> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'<', &head[at..]) {
        at += found + 1;
        let rest = &head[at..];
        if rest.starts_with(b"!--") {
            at += memchr::memmem::find(rest, b"-->")?;
        } else if rest.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"meta")) {
            let end = memchr::memchr(b'>', rest)?;
            if let Some(label) = value_of(&rest[..end], b"charset") {
                return Some(label);
            }
        }
    }
    None
}

/// What stands behind `name` and `=`, in quotes of any kind or in none.
fn value_of<'b>(tag: &'b [u8], name: &[u8]) -> Option<&'b str> {
    let at = (0..tag.len()).find(|at| {
        tag.get(*at..at + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
            && tag[at + name.len()..].trim_ascii_start().first() == Some(&b'=')
    })?;
    let value = tag[at + name.len()..].trim_ascii_start()[1..].trim_ascii_start();
    let value = match value {
        [b'"' | b'\'', rest @ ..] => rest,
        unquoted => unquoted,
    };
    let end = value.iter().position(|byte| b"\"'; />".contains(byte) || byte.is_ascii_whitespace());
    let label = std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()?;
    (!label.is_empty()).then_some(label)
}

/// What bytes look like that are no UTF-8. A language helps with a few words.
///
/// Text with more good characters of UTF-8 than broken ones is UTF-8 that was damaged: read as
/// anything else, all of its letters would be wrong ones.
pub(super) fn detected(bytes: &[u8], language: Option<&str>) -> Encoding {
    let (n_good, n_broken) = bytes.utf8_chunks().fold((0, 0), |(n_good, n_broken), chunk| {
        let good = chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        (n_good + good, n_broken + usize::from(!chunk.invalid().is_empty()))
    });
    if n_broken < n_good {
        return Encoding::Utf8;
    }
    let start = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(0).saturating_sub(CONTEXT);
    let sample = &bytes[start..bytes.len().min(start.saturating_add(SAMPLE))];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, start + sample.len() == bytes.len());
    Encoding::Legacy(detector.guess(language.and_then(domain), Utf8Detection::Deny))
}

/// The top-level domain by which the detector knows a language.
fn domain(language: &str) -> Option<&'static [u8]> {
    let primary = language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    Some(match primary.as_str() {
        "ar" => b"sa",
        "bg" => b"bg",
        "cs" => b"cz",
        "el" => b"gr",
        "et" => b"ee",
        "fa" => b"ir",
        "he" => b"il",
        "hr" => b"hr",
        "hu" => b"hu",
        "ja" => b"jp",
        "ko" => b"kr",
        "lt" => b"lt",
        "lv" => b"lv",
        "pl" => b"pl",
        "ro" => b"ro",
        "ru" => b"ru",
        "sk" => b"sk",
        "sl" => b"si",
        "sr" => b"rs",
        "th" => b"th",
        "tr" => b"tr",
        "uk" => b"ua",
        "vi" => b"vn",
        "zh" if language.to_ascii_lowercase().contains("tw") => b"tw",
        "zh" => b"cn",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_declared(head: &str, media_type: &str, want: Option<&str>) {
        assert_eq!(declared(head.as_bytes(), media_type), want);
    }

    #[test]
    fn a_page_says_its_encoding_in_a_meta() {
        check_declared("<html><META Charset = iso-8859-9><p>", "text/html", Some("iso-8859-9"));
        check_declared("<meta charset=\"utf-8\"/>", "text/html", Some("utf-8"));
        let old = "<meta http-equiv='Content-Type' content='text/html; charset=windows-1254'>";
        check_declared(old, "text/html", Some("windows-1254"));
        check_declared(
            "<!-- <meta charset=gbk> --><meta name=x><meta charset=big5>",
            "text/html",
            Some("big5"),
        );
        check_declared("<meta charset=gbk", "text/html", None);
        check_declared("<meta charset=gbk>", "text/plain", None);
    }

    #[test]
    fn an_xml_document_says_it_first() {
        let xml = "<?xml version=\"1.0\" encoding='ISO-8859-9'?><a/>";
        check_declared(xml, "application/xml", Some("ISO-8859-9"));
        check_declared(xml, "text/html", Some("ISO-8859-9"));
        check_declared("<?xml version=\"1.0\"?><a encoding='gbk'/>", "application/xml", None);
    }

    #[track_caller]
    fn check_detected(text: &str, label: &str, language: Option<&str>) {
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
        let (bytes, _, has_others) = encoding.encode(text);
        assert!(!has_others, "{text} cannot be written in {label}");
        assert_eq!(detected(&bytes, language).name(), encoding.name(), "{text}");
    }

    #[test]
    fn turkish_is_told_from_its_neighbours() {
        check_detected("Kış güneşi şehrin üstüne doğdu.", "windows-1254", None);
        check_detected("id;ad;şehir\n1;Ayşe;İzmir\n2;Gül;Iğdır\n", "iso-8859-9", None);
        check_detected("Le café est à côté de l'hôtel, où l'on mange très bien.", "windows-1252", None);
        check_detected("Íslenska þjóðin býr á eyju með fjöllum", "windows-1252", None);
    }

    #[test]
    fn a_language_decides_where_few_letters_do_not() {
        check_detected("Ağaç", "windows-1254", Some("tr"));
        check_detected("şehir", "windows-1254", Some("tr-TR"));
    }

    #[test]
    fn scripts_are_told_apart() {
        check_detected("Привет, мир, как дела", "windows-1251", None);
        check_detected("Příliš žluťoučký kůň úpěl ďábelské ódy", "windows-1250", None);
        check_detected("你好，世界。今天天气很好", "gbk", None);
        check_detected("你好，世界。今天天氣很好", "big5", None);
        check_detected("こんにちは世界。日本語のテキスト", "shift_jis", None);
        check_detected("안녕하세요 세계. 한국어 텍스트", "euc-kr", None);
        check_detected("สวัสดีชาวโลก", "windows-874", None);
    }

    #[test]
    fn a_few_broken_bytes_make_no_other_encoding() {
        assert_eq!(detected("Kış güneşi \u{fffd}".as_bytes(), None), Encoding::Utf8);
        assert_eq!(detected(b"K\xC4\xB1\xC5\x9F g\xC3\xBCn\xFF", None), Encoding::Utf8);
    }

    #[test]
    fn a_setting_is_read_by_any_of_its_names() {
        let read = |name: &str| serde_json::from_value::<Assumed>(name.into()).map(|read| read.to_string());
        assert_eq!(read("detect").unwrap(), "detect");
        assert_eq!(read("UTF8").unwrap(), "utf-8");
        assert_eq!(read("latin5").unwrap(), "windows-1254");
        assert_eq!(read("utf-16le").unwrap(), "utf-16le");
        let error = read("klingon").unwrap_err().to_string();
        assert!(error.contains("`klingon` is no encoding"), "{error}");
    }
}
