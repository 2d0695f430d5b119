//! Fields of rows, and the way back to their bytes.

use proptest::prelude::*;

use super::super::split::Splitter;
use super::*;

fn values(record: &str, delimiter: u8) -> Vec<String> {
    fields(record, delimiter).iter().map(|field| field.value(record)).collect()
}

#[track_caller]
fn check(record: &str, want: &[&str]) {
    assert_eq!(values(record, b','), want);
}

#[test]
fn fields_stand_between_delimiters() {
    check("a,b,c", &["a", "b", "c"]);
    check("a,,", &["a", "", ""]);
    check("", &[""]);
    assert_eq!(values("a;b,c", b';'), ["a", "b,c"]);
}

#[test]
fn quotes_hold_delimiters_line_ends_and_doubled_quotes() {
    check("\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\"", &["a,b", "say \"hi\"", "two\nlines"]);
    check("\"\",\"\"\"\"", &["", "\""]);
}

#[test]
fn quotes_elsewhere_are_what_they_are() {
    check("a\"b\",c", &["a\"b\"", "c"]);
    check("\"a\"b,c", &["ab", "c"]);
    check("\"a\"b\"c\",d", &["ab\"c\"", "d"]);
}

fn columns(first: &str, options: &RecordOptions) -> Result<Columns, String> {
    Columns::new(first, b',', options)
}

fn text_of(names: &[&str]) -> RecordOptions {
    RecordOptions {
        text_fields: names.iter().map(|name| (*name).to_owned()).collect(),
        ..RecordOptions::default()
    }
}

#[test]
fn columns_are_found_by_name_or_number() {
    let found = columns("id, Name ,\"a,b\"", &text_of(&["a,b", "2"])).unwrap();
    assert_eq!((found.text, found.id), (vec![2, 1], Some(0)));
    let error = columns("id,name", &text_of(&["body"])).unwrap_err();
    assert_eq!(error, "it has no column `body`; it has `id`, `name`");
    let unnamed = RecordOptions { no_header: true, ..text_of(&["3"]) };
    assert_eq!(
        columns("1,two", &unnamed).unwrap_err(),
        "it has no column `3`; it has 2 without names: count from 1"
    );
}

#[test]
fn where_no_column_is_named_the_usual_one_or_all_are_text() {
    assert_eq!(columns("ID,Text,note", &RecordOptions::default()).unwrap().text, [1]);
    let all = columns("id,title,a,b", &RecordOptions::default()).unwrap();
    assert_eq!((all.text, all.id, all.title), (vec![2, 3], Some(0), Some(1)));
    assert_eq!(
        columns("id,title", &RecordOptions::default()).unwrap_err(),
        "it has no column of text; it has `id`, `title`"
    );
}

#[test]
fn a_row_says_its_text_and_what_else_is_asked_for() {
    let options = RecordOptions { metadata_fields: vec!["city".into()], ..text_of(&["a", "b"]) };
    let columns = columns("id,title,city,b,a", &options).unwrap();
    let selected = columns.select("7,\"The \"\"T\"\"\",İzmir,second,first").unwrap();
    assert_eq!(selected.text, "second\nfirst");
    assert_eq!(selected.parts.title.as_deref(), Some("The \"T\""));
    assert_eq!(selected.parts.metadata, [("city".to_owned(), "İzmir".to_owned())]);
    assert_eq!(columns.id("7,,,,"), Ok(Some("7".into())));
}

#[test]
fn a_row_of_another_length_is_refused() {
    let columns = columns("a,b", &RecordOptions::default()).unwrap();
    assert_eq!(columns.select("1,2,3").unwrap_err(), "it has 3 fields, and the first row has 2");
}

#[test]
fn the_first_line_tells_the_delimiter() {
    assert_eq!(delimiter("a;b;\"c,d,e,f\""), b';');
    assert_eq!(delimiter("a\tb,c\td"), b'\t');
    assert_eq!(delimiter("a|b"), b'|');
    assert_eq!(delimiter("alone"), b',');
}

/// The values of all rows that are not blank; nothing where one is broken.
fn all_rows(table: &str) -> Option<Vec<Vec<String>>> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, table.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut splitter = Splitter::new(file, 1_000).unwrap();
    let mut rows = Vec::new();
    while let Some(next) = splitter.next_row(b',').unwrap() {
        let row = std::str::from_utf8(splitter.bytes(&next.ok()?)).unwrap();
        if !row.is_empty() {
            rows.push(values(row, b','));
        }
    }
    Some(rows)
}

proptest! {
    /// What other programs read is what is read here, where every quote is closed.
    #[test]
    fn tables_are_read_as_others_read_them(table in "[ab\",;éğ\r\n]{1,48}") {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table.as_bytes());
        let want: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let got = all_rows(&table);
        prop_assume!(got.is_some());
        prop_assert_eq!(got.unwrap(), want);
    }

    #[test]
    fn every_character_leads_back_to_what_was_written_for_it(
        wanted in "[a-z\",;\n\réğ海🌊]{1,24}",
        others in prop::collection::vec("[a-z\", ]{0,6}", 0..3),
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let row: Vec<_> = others.iter().map(|other| quoted(other)).chain([quoted(&wanted)]).collect();
        let row = row.join(",");
        let columns = Columns { delimiter: b',', n_fields: others.len() + 1, text: vec![others.len()], ..Columns::default() };
        let selected = columns.select(&row).unwrap();
        prop_assert_eq!(&selected.text, &wanted);
        for (start, character) in wanted.char_indices() {
            let span = selected.map.to_source(Span::new(start, start + character.len_utf8())).unwrap();
            let want = if character == '"' { "\"\"".to_owned() } else { character.to_string() };
            prop_assert_eq!(span.of(&row), Some(want.as_str()));
        }
    }
}
