//! Where records begin and end, in pieces of any size and units of any width.

use std::io::Write as _;

use super::*;

const PLAIN: Units = Units { width: 1, big: false };

fn splitter(bytes: &[u8], max_record: usize) -> Splitter {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Splitter::new(file, max_record).unwrap()
}

/// Each record with its first line, and what is said of broken ones.
fn told(mut next: impl FnMut() -> Option<(Next, Vec<u8>)>) -> Vec<String> {
    std::iter::from_fn(|| {
        let (next, bytes) = next()?;
        Some(match next {
            Ok(raw) => format!("{}@{}: {}", raw.line, raw.start, String::from_utf8_lossy(&bytes)),
            Err(broken) => format!("{}: {}", broken.line, broken.reason),
        })
    })
    .collect()
}

fn lines(splitter: &mut Splitter) -> Vec<String> {
    told(|| {
        let next = splitter.next_line().unwrap()?;
        let bytes = next.as_ref().map_or(Vec::new(), |raw| splitter.bytes(raw).to_vec());
        Some((next, bytes))
    })
}

fn rows(splitter: &mut Splitter) -> Vec<String> {
    told(|| {
        let next = splitter.next_row(b',').unwrap()?;
        let bytes = next.as_ref().map_or(Vec::new(), |raw| splitter.bytes(raw).to_vec());
        Some((next, bytes))
    })
}

#[track_caller]
fn check_lines(text: &str, want: &[&str]) {
    assert_eq!(lines(&mut splitter(text.as_bytes(), 100)), want);
}

#[track_caller]
fn check_rows(text: &str, want: &[&str]) {
    assert_eq!(rows(&mut splitter(text.as_bytes(), 100)), want);
}

#[test]
fn lines_end_with_a_line_end_or_the_file() {
    check_lines("one\ntwo\r\n\nlast", &["1@0: one", "2@4: two\r", "3@9: ", "4@10: last"]);
    check_lines("one\n", &["1@0: one"]);
    check_lines("", &[]);
}

#[test]
fn rows_go_on_within_quotes() {
    check_rows("a,\"b\nc\"\nd\n", &["1@0: a,\"b\nc\"", "3@8: d"]);
    check_rows("a\r\nb\rc", &["1@0: a", "2@3: b", "3@5: c"]);
    check_rows("\"a\"\"\n\",b\nc\n", &["1@0: \"a\"\"\n\",b", "3@9: c"]);
    check_rows("a\"b\nc\"\n", &["1@0: a\"b", "2@4: c\""]);
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    check_rows(
        "a,b\n\"open,b\nc,d\ne,f\n",
        &["1@0: a,b", "2: the quote that begins there is never closed", "3@12: c,d", "4@16: e,f"],
    );
}

#[test]
fn a_record_over_the_limit_is_passed_over_in_bounded_memory() {
    let long = "x".repeat(2_000_000);
    let want = ["1@0: a", "2: it has more than the 100 bytes of `index.max_file`", "3@2000003: b"];
    for way in [lines, rows] {
        let mut splitter = splitter(format!("a\n{long}\nb\n").as_bytes(), 100);
        assert_eq!(way(&mut splitter), want);
        assert!(splitter.buffer.capacity() <= 4 * CHUNK, "{}", splitter.buffer.capacity());
    }
}

#[test]
fn a_row_over_the_limit_is_passed_over_to_its_end() {
    let long = format!("a,\"{}\nopen\"\nb\n", "x".repeat(200));
    check_rows(&long, &["1: it has more than the 100 bytes of `index.max_file`", "3@210: b"]);
}

#[test]
fn records_over_several_reads_are_whole() {
    let row =
        |number: usize| format!("{number},\"{}\n{}\"", "ğ".repeat(number % 5_000), "\"\"".repeat(number % 3));
    let n_rows = 200;
    let text: String = (0..n_rows).map(|number| row(number * 37) + "\r\n").collect();
    assert!(3 * CHUNK < text.len());
    let mut splitter = splitter(text.as_bytes(), 1 << 20);
    let mut start = 0;
    for number in 0..n_rows {
        let raw = splitter.next_row(b',').unwrap().unwrap().unwrap();
        let want = row(number * 37);
        assert_eq!(splitter.bytes(&raw), want.as_bytes());
        assert_eq!((raw.start, raw.line), (start, 2 * number as u64 + 1));
        start += want.len() as u64 + 2;
    }
    assert_eq!(splitter.next_row(b',').unwrap(), None);
}

#[test]
fn wide_characters_are_looked_at_as_a_whole() {
    // U+0A0A and U+2C22 have the bytes of line ends, commas and quotes in them.
    let text = "a,\u{A0A}\u{2C22}\nb";
    for (big, unit) in [(false, u16::to_le_bytes as fn(u16) -> [u8; 2]), (true, u16::to_be_bytes)] {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(unit).collect();
        for way in [lines, rows] {
            let mut splitter = splitter(&bytes, 100);
            splitter.pass_mark(0, Units { width: 2, big });
            let lengths: Vec<_> = way(&mut splitter).iter().map(|told| told[..3].to_owned()).collect();
            assert_eq!(lengths, ["1@0", "2@1"], "{big}");
        }
    }
    assert_eq!(PLAIN.find(b"ab", b'b'), Some(1));
}

#[test]
fn the_next_line_can_be_seen_before_it_is_read() {
    let mut splitter = splitter(b"a;b\nc", 100);
    assert_eq!(splitter.peek_line().unwrap(), b"a;b");
    assert_eq!(lines(&mut splitter), ["1@0: a;b", "2@4: c"]);
}
