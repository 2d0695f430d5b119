//! Bytes in any encoding, what of them is refused, and the way back to them.

use proptest::prelude::*;

use super::*;

fn hints(assumed: Assumed) -> Hints<'static> {
    Hints { assumed, language: Some("tr"), charset: None, media_type: super::super::media::PLAIN }
}

#[track_caller]
fn check(bytes: &[u8], want: Result<(&str, &str), DecodeError>) {
    let read = Text::new(bytes.to_vec(), &hints(Assumed::Detect));
    let read = read.map(|read| (read.text, read.encoding.name().to_owned()));
    assert_eq!(read, want.map(|(text, encoding)| (text.to_owned(), encoding.to_owned())));
}

/// Every character of the text, found again in the file through its span.
#[track_caller]
fn check_way_back(bytes: &[u8], assumed: Assumed, decode: impl Fn(&[u8]) -> String) {
    let read = Text::new(bytes.to_vec(), &hints(assumed)).unwrap();
    let places = read.text.char_indices();
    let spans: Vec<_> =
        places.map(|(start, character)| Span::new(start, start + character.len_utf8())).collect();
    let backwards: Vec<_> = spans.iter().rev().copied().collect();
    for spans in [spans, backwards] {
        for (span, in_file) in spans.iter().zip(read.spans(&spans)) {
            assert_eq!(decode(&bytes[in_file.start..in_file.end]), span.of(&read.text).unwrap());
        }
    }
}

#[track_caller]
fn check_legacy(label: &str, text: &str) {
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
    let (bytes, _, has_others) = encoding.encode(text);
    assert!(!has_others, "{text} cannot be written in {label}");
    check_way_back(&bytes, Assumed::Always(Encoding::Legacy(encoding)), |bytes| {
        encoding.decode_without_bom_handling_and_without_replacement(bytes).unwrap().into_owned()
    });
}

fn wide(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(unit).collect()
}

#[test]
fn utf8_is_read_with_and_without_a_mark() {
    check("çağ".as_bytes(), Ok(("çağ", "UTF-8")));
    check(b"\xEF\xBB\xBFabc", Ok(("abc", "UTF-8")));
    check(b"", Ok(("", "UTF-8")));
}

#[test]
fn a_byte_order_mark_decides_the_encoding() {
    check(&wide("İstanbul 🌊", u16::to_le_bytes), Ok(("İstanbul 🌊", "UTF-16LE")));
    check(&wide("İstanbul 🌊", u16::to_be_bytes), Ok(("İstanbul 🌊", "UTF-16BE")));
    check(&[0xFF, 0xFE, 0, 0, 0x31, 1, 0, 0], Ok(("ı", "UTF-32LE")));
    check(&[0, 0, 0xFE, 0xFF, 0, 1, 0xF3, 0x0A], Ok(("🌊", "UTF-32BE")));
}

#[test]
fn what_is_not_utf8_is_what_it_looks_like() {
    check(b"a\xF0a\xE7 ve \xFEehir", Ok(("ağaç ve şehir", "windows-1254")));
    check(
        b"\xC4\xE3\xBA\xC3\xA3\xAC\xCA\xC0\xBD\xE7\xA1\xA3\xBD\xF1\xCC\xEC\xCC\xEC\xC6\xF8\xBA\xDC\xBA\xC3",
        Ok(("你好，世界。今天天气很好", "GBK")),
    );
}

#[test]
fn damaged_utf8_is_refused_by_byte_and_offset() {
    let says = Says::Looks;
    check(
        "çağ\u{1F30A}".as_bytes().split_last().unwrap().1,
        Err(DecodeError::Misfit { says, encoding: "UTF-8", byte: 0xF0, offset: 5 }),
    );
    check(
        b"\xEF\xBB\xBFcaf\xE9",
        Err(DecodeError::Misfit { says: Says::Mark, encoding: "UTF-8", byte: 0xE9, offset: 6 }),
    );
}

#[test]
fn what_is_no_text_is_named() {
    check(b"\x89PNG\r\n\0", Err(DecodeError::Kind { kind: "a PNG picture" }));
    check(b"%PDF-1.7 text", Err(DecodeError::Kind { kind: "a PDF document" }));
    check(b"\xFF\xD8\xFF\xE0x", Err(DecodeError::Kind { kind: "a JPEG picture" }));
    check(b"strange\0", Err(DecodeError::Binary { offset: 7 }));
    check(b"\xE9\x01", Err(DecodeError::Control { byte: 1, offset: 1 }));
}

#[test]
fn a_byte_that_its_encoding_does_not_have_refuses_the_file() {
    let read =
        Text::new(b"a\x81\xF0".to_vec(), &hints(Assumed::Always(Encoding::named("windows-1254").unwrap())));
    let says = Says::Configuration;
    assert_eq!(read, Err(DecodeError::Misfit { says, encoding: "windows-1254", byte: 0x81, offset: 1 }));
    let read = Text::new(b"a\xC4".to_vec(), &hints(Assumed::Always(Encoding::named("gbk").unwrap())));
    assert_eq!(read, Err(DecodeError::Misfit { says, encoding: "GBK", byte: 0xC4, offset: 1 }));
    let read = Text::new(b"\xE9".to_vec(), &hints(Assumed::Always(Encoding::Utf8)));
    let error = read.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`index.encoding` says UTF-8, and the byte 0xE9 at offset 0 is none of it: save it as UTF-8"
    );
    assert!(!error.is_no_text());
}

#[test]
fn what_a_page_or_its_server_says_comes_before_what_it_looks_like() {
    let html = Hints { media_type: super::super::media::HTML, ..hints(Assumed::Detect) };
    let page = b"<meta charset=iso-8859-2><p>\xF0".to_vec();
    assert_eq!(Text::new(page.clone(), &html).unwrap().encoding.name(), "ISO-8859-2");
    let served = Hints { charset: Some("koi8-r"), ..html };
    assert_eq!(Text::new(page, &served).unwrap().encoding.name(), "KOI8-R");
    let label = Text::new(b"x".to_vec(), &Hints { charset: Some("klingon"), ..html }).unwrap_err();
    assert_eq!(
        label.to_string(),
        "its server says `klingon`, and there is no such encoding: save it as UTF-8"
    );
    // Good UTF-8 is UTF-8, whatever is said of it.
    let wrong = "<meta charset=iso-8859-9><p>ağaç".as_bytes().to_vec();
    assert_eq!(Text::new(wrong, &html).unwrap().encoding, Encoding::Utf8);
}

#[test]
fn half_a_character_of_utf16_is_refused() {
    let half = |byte, offset| DecodeError::Misfit { says: Says::Mark, encoding: "UTF-16LE", byte, offset };
    check(&[0xFF, 0xFE, b'a', 0, b'b'], Err(half(b'b', 4)));
    check(&[0xFF, 0xFE, b'a', 0, 0x3D, 0xD8], Err(half(0x3D, 4)));
    check(&[0xFF, 0xFE, b'a', 0, 0, 0], Err(DecodeError::Binary { offset: 4 }));
}

#[test]
fn spans_lead_back_to_the_bytes_of_the_file() {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    check_way_back("ağaç 🌊".as_bytes(), Assumed::Detect, utf8);
    check_way_back("\u{FEFF}ağaç 🌊".as_bytes(), Assumed::Detect, utf8);
    check_way_back(&wide("ağaç 🌊 x", u16::to_le_bytes), Assumed::Detect, |bytes| {
        let units: Vec<_> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        String::from_utf16(&units).unwrap()
    });
}

#[test]
fn spans_lead_back_to_the_bytes_of_every_old_encoding() {
    check_legacy("windows-1254", "Iğdır'da şehir “güneşi” – İzmir €5");
    check_legacy("iso-8859-9", "ağaç ve ÇIĞ");
    check_legacy("windows-1251", "Привет, мир");
    check_legacy("gbk", "a你好，b世界。\r\n€");
    check_legacy("gb18030", "你好 🌊 ağ");
    check_legacy("big5", "你好，世界 x");
    check_legacy("shift_jis", "ｱｲｳ こんにちは a 世界\\~");
    check_legacy("euc-jp", "こんにちは ｱ x");
    check_legacy("euc-kr", "안녕하세요 x 세계");
}

#[test]
fn two_characters_of_one_are_found_in_it() {
    // Big5 has one code for a letter with a mark above it that Unicode has not.
    let big5 = Assumed::Always(Encoding::named("big5").unwrap());
    let read = Text::new(b"a\x88\x62b".to_vec(), &hints(big5)).unwrap();
    assert_eq!(read.text, "aÊ\u{304}b");
    let spans = [Span::new(1, 3), Span::new(3, 5), Span::new(5, 6), Span::new(1, 5)];
    let want = [(1, 3), (3, 3), (3, 4), (1, 3)].map(|(start, end)| Span::new(start, end));
    assert_eq!(read.spans(&spans), want);
}

#[test]
fn escapes_that_hide_in_ascii_are_read_where_somebody_says_so() {
    let (bytes, ..) = encoding_rs::ISO_2022_JP.encode("こんにちは x");
    let says = Hints { charset: Some("iso-2022-jp"), ..hints(Assumed::Detect) };
    let read = Text::new(bytes.to_vec(), &says).unwrap();
    assert_eq!(read.text, "こんにちは x");
    let end = read.spans(&[Span::new(0, read.text.len())])[0].end;
    assert_eq!(end, bytes.len());
}

proptest! {
    /// GB18030 has all of Unicode, in one, two or four bytes each.
    #[test]
    fn any_text_is_found_again_in_an_encoding_of_several_bytes(text in "[a-z\n\\té€ğ海漢🌊\u{100}-\u{2FFF}]{1,40}") {
        check_legacy("gb18030", &text);
    }

    #[test]
    fn any_bytes_are_text_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), label in 0_usize..6) {
        let label = ["gbk", "big5", "euc-jp", "shift_jis", "iso-2022-jp", "windows-1254"][label];
        let assumed = Assumed::Always(Encoding::named(label).unwrap());
        if let Ok(read) = Text::new(bytes.clone(), &hints(assumed)) {
            let end = read.spans(&[Span::new(0, read.text.len())])[0].end;
            prop_assert!(end <= bytes.len());
            let is_written = String::from_utf8_lossy(&bytes) == read.text;
            let replaces = read.text.contains(char::REPLACEMENT_CHARACTER);
            prop_assert!(is_written || !replaces);
        }
    }
}
