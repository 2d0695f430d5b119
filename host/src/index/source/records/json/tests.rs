//! Fields of lines of JSON, and the way back to their bytes.

use proptest::prelude::*;

use super::*;

fn fields(text: &[&str]) -> Fields {
    Fields { text: text.iter().map(|name| (*name).to_owned()).collect(), ..Fields::default() }
}

#[track_caller]
fn check(fields: &Fields, record: &str, want: Result<&str, &str>) {
    let got = fields.select(record).map(|selected| selected.text);
    assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned));
}

/// What stands in the record for the only occurrence of `find` in its text.
#[track_caller]
fn check_span(fields: &Fields, record: &str, find: &str, want: &str) {
    let selected = fields.select(record).unwrap();
    let start = selected.text.find(find).unwrap();
    let span = selected.map.to_source(Span::new(start, start + find.len())).unwrap();
    assert_eq!(span.of(record), Some(want));
}

#[test]
fn the_usual_field_is_the_text() {
    check(&fields(&[]), r#"{"id": 1, "title": "T", "text": "kelp", "note": "n"}"#, Ok("kelp"));
    check(&fields(&[]), r#"{"body": "b", "content": "c"}"#, Ok("c"));
}

#[test]
fn where_there_is_none_all_texts_are_one() {
    check(&fields(&[]), r#"{"id": "x", "title": "T", "a": "one", "n": 5, "b": "two"}"#, Ok("one\n\ntwo"));
    check(
        &fields(&[]),
        r#"{"id": "x", "n": 5, "deep": {"a": "b"}}"#,
        Err("it has no field of text; it has `id`, `n`, `deep`"),
    );
    check(&fields(&[]), "{}", Err("it has no field of text; it has none"));
}

#[test]
fn fields_are_named_by_paths_and_pointers() {
    let record = r#"{"a": {"b": [{"c": "deep"}, "flat"], "x.y": "dot"}, "n": 7}"#;
    check(&fields(&["a.b.0.c"]), record, Ok("deep"));
    check(&fields(&["/a/b/1"]), record, Ok("flat"));
    check(&fields(&["/a/x.y"]), record, Ok("dot"));
    check(&fields(&["n"]), record, Ok("7"));
    check(&fields(&["/a/b/9"]), record, Err("it has no field `/a/b/9`; it has `a`, `n`"));
}

#[test]
fn several_fields_come_in_the_order_of_the_record() {
    let record = r#"{"body": "second", "gap": 0, "subject": "first"}"#;
    check(&fields(&["subject", "body", "none"]), record, Ok("second\n\nfirst"));
    check(&fields(&["body", "body"]), record, Ok("second"));
}

#[test]
fn lists_of_texts_are_text_and_objects_are_not() {
    check(&fields(&["a"]), r#"{"a": ["one", null, "two"]}"#, Ok("one\n\ntwo"));
    check(&fields(&["a"]), r#"{"a": null}"#, Ok(""));
    check(
        &fields(&["a"]),
        r#"{"a": {"b": "c"}}"#,
        Err("its field `a` is an object, not text: name a field in it, as `a.NAME`"),
    );
    check(&fields(&["a"]), r#"{"a": [["b"]]}"#, Err("its field `a` is a list with a list in it, not text"));
}

#[test]
fn the_last_of_two_fields_of_one_name_counts() {
    check(&fields(&["a"]), r#"{"a": "one", "a": "two"}"#, Ok("two"));
}

#[test]
fn what_is_no_object_is_refused() {
    check(&fields(&[]), "[1]", Err("it is no JSON object"));
    check(&fields(&[]), "kelp", Err("it is no JSON object"));
    check(&fields(&[]), r#"{"a": "b"#, Err("it is no JSON: EOF while parsing a string at column 8"));
    check(&fields(&[]), r#"{"a": 1} x"#, Err("it is no JSON: trailing characters at column 10"));
}

#[test]
fn escapes_lead_back_to_what_was_written() {
    let record = r#"{"text": "say \"a\u011fa\u00e7\" \ud83c\udf0a twice\n"}"#;
    check(&fields(&[]), record, Ok("say \"ağaç\" 🌊 twice\n"));
    check_span(&fields(&[]), record, "ğaç", r"\u011fa\u00e7");
    check_span(&fields(&[]), record, "🌊", r"\ud83c\udf0a");
    check_span(&fields(&[]), record, "twice", "twice");
}

#[test]
fn a_span_over_two_fields_covers_what_is_between_them() {
    check_span(&fields(&[]), r#"{"a": "one", "n": 5, "b": "two"}"#, "e\n\nt", r#"e", "n": 5, "b": "t"#);
}

#[test]
fn escapes_that_are_no_character_are_refused() {
    for (record, column) in
        [(r#"{"a": "x\ud83c y"}"#, 9), (r#"{"a": "\udf0a"}"#, 8), (r#"{"a": "\ud83c\u0041"}"#, 8)]
    {
        check(&fields(&[]), record, Err(&format!("the escape at column {column} is no character")));
    }
    check(&fields(&[]), r#"{"a": "b\u0000"}"#, Err("there is a zero character at column 9"));
}

#[test]
fn ids_are_texts_or_numbers() {
    let id = |record: &str| Fields::default().id(record);
    assert_eq!(id(r#"{"id": "a\u0062"}"#), Ok(Some("ab".into())));
    assert_eq!(id(r#"{"_id": 12}"#), Ok(Some("12".into())));
    assert_eq!(id(r#"{"id": null, "text": "x"}"#), Ok(None));
    let named = Fields { id: Some("key.name".into()), ..Fields::default() };
    assert_eq!(named.id(r#"{"key": {"name": "x"}}"#), Ok(Some("x".into())));
    assert_eq!(named.id(r#"{"key": 1}"#), Err("it has no field `key.name`; it has `key`".into()));
    assert_eq!(named.id(r#"{"key": {"name": [1]}}"#), Err("its id `[1]` is a list".into()));
}

#[test]
fn titles_and_other_fields_are_kept() {
    let fields = Fields { metadata: vec!["tags".into(), "n".into(), "none".into()], ..Fields::default() };
    let record = r#"{"title": "A \"T\"", "text": "x", "tags": ["one", "two"], "n": 1.5}"#;
    let Parts { title, metadata } = fields.select(record).unwrap().parts;
    assert_eq!(title.as_deref(), Some("A \"T\""));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(metadata, [pair("tags", "one"), pair("tags", "two"), pair("n", "1.5")]);
}

/// A string as some program might write it: each character plain, by a short escape, or by number.
fn written(text: &str, ways: &[u8]) -> String {
    let mut units = [0; 2];
    let ways = ways.iter().copied().chain(std::iter::repeat(0));
    let written = text.chars().zip(ways).map(|(character, way)| {
        let plain = serde_json::to_string(&character.to_string()).unwrap();
        match way {
            0 => plain[1..plain.len() - 1].to_owned(),
            1 => character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            _ => character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
        }
    });
    written.collect()
}

proptest! {
    #[test]
    fn every_character_leads_back_to_what_was_written_for_it(
        text in "[a-z\"\\\\/\\n\\téğ海🌊\u{1}]{1,24}",
        ways in prop::collection::vec(0_u8..3, 0..24),
    ) {
        let record = format!("  {{\"n\":[1,\"x\"],\"text\": \"{}\" , \"z\":\"\"}}", written(&text, &ways));
        let selected = fields(&["text"]).select(&record).unwrap();
        prop_assert_eq!(&selected.text, &text);
        for (start, character) in text.char_indices() {
            let span = selected.map.to_source(Span::new(start, start + character.len_utf8())).unwrap();
            let read: String = serde_json::from_str(&format!("\"{}\"", span.of(&record).unwrap())).unwrap();
            prop_assert_eq!(read, character.to_string());
        }
    }

    #[test]
    fn any_line_is_read_or_refused(record in "[\\{\\}\\[\\]\":,a-z0-9\\\\u ]{0,32}") {
        let selected = Fields::default().select(&record);
        if selected.is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&record).is_ok());
        }
    }
}
