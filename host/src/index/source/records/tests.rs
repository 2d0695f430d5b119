//! Records of files: where they come from, what they are called, and what is said of broken ones.

use std::ops::ControlFlow::Continue;

use super::*;
use crate::document::Span;
use crate::index::Config;
use crate::index::source::{Found, Item, Options, Origin, Reader, Root, Sources};

struct Table {
    folder: tempfile::TempDir,
    path: String,
    sources: Sources,
    config: Config,
}

fn table_with(name: &str, bytes: &[u8], records: RecordOptions, config: Config) -> Table {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join(name).to_str().unwrap().to_owned();
    std::fs::write(&path, bytes).unwrap();
    let options = Options { records, ..Options::default() };
    let root = Root::Path { path: path.clone(), options, linked: Default::default() };
    let sources = Sources::new(vec![root], &config).unwrap().in_language(Some("tr"));
    Table { folder, path, sources, config }
}

fn table(name: &str, text: &str) -> Table {
    table_with(name, text.as_bytes(), RecordOptions::default(), Config::default())
}

impl Table {
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        self.sources.walk(&mut |item| {
            items.push(item);
            Continue(())
        });
        items
    }

    fn found(&self) -> Vec<Found> {
        let document = |item| match item {
            Item::Document(found) => Some(found),
            Item::Skipped { .. } | Item::Failed { .. } => None,
        };
        self.items().into_iter().filter_map(document).collect()
    }

    /// What is said of each record, behind the path of the file.
    fn told(&self) -> Vec<String> {
        let told = self.items().into_iter().map(|item| match item {
            Item::Document(found) => found.source,
            Item::Skipped { source, reason } => format!("skipped {source}: {reason}"),
            Item::Failed { source, reason } => format!("failed {source}: {reason}"),
        });
        told.map(|line| line.replace(&self.path, "")).collect()
    }

    async fn read(&self, found: &Found) -> (String, Vec<u8>) {
        let reader = Reader::new(&self.config, Some("tr"));
        let contents = reader.read(found, None).await.unwrap();
        let decoded = reader.decode(contents).unwrap();
        let text = decoded.text().to_owned();
        let file = std::fs::read(&self.path).unwrap();
        let span = decoded.file_spans(&[Span::new(0, text.len())])[0];
        (text, file[span.start..span.end].to_vec())
    }

    /// Each record's text, and what stands in the file for it.
    async fn check_texts(&self, want: &[(&str, &[u8])]) {
        let mut got = Vec::new();
        for found in self.found() {
            got.push(self.read(&found).await);
        }
        let want: Vec<_> = want.iter().map(|(text, bytes)| ((*text).to_owned(), bytes.to_vec())).collect();
        assert_eq!(got, want);
    }
}

#[tokio::test]
async fn each_line_of_json_is_a_document() {
    let table = table("a.jsonl", "{\"id\":\"x\",\"text\":\"one\"}\r\n\n{\"text\":\"a\\u011f\"}\n");
    assert_eq!(table.told(), ["#x", "#L3"]);
    table.check_texts(&[("one", b"one"), ("ağ", b"a\\u011f")]).await;
}

#[tokio::test]
async fn each_row_of_a_table_is_a_document() {
    let table = table("a.csv", "\u{FEFF}id,text\n7,\"say \"\"hi\"\"\n\nthere\"\n\n8,bye\n");
    assert_eq!(table.told(), ["#7", "#8"]);
    table.check_texts(&[("say \"hi\"\n\nthere", b"say \"\"hi\"\"\n\nthere"), ("bye", b"bye")]).await;
    let reader = Reader::new(&table.config, None);
    let contents = reader.read(&table.found()[0], None).await.unwrap();
    let decoded = reader.decode(contents).unwrap();
    assert_eq!(decoded.lines(&[Span::new(0, 3), Span::new(10, 15)]), [2, 4]);
}

#[test]
fn a_broken_record_fails_and_the_others_go_on() {
    let table = table("a.jsonl", "{\"id\":1}\n{\"id\":2,\n{\"id\":3}\n");
    let want = "failed #L2: line 2: it is no JSON: EOF while parsing a value at column 8";
    assert_eq!(table.told(), ["#1", want, "#3"]);
    // Which record was broken is not known, so none is known to have vanished.
    assert!(!table.sources.contains(&format!("{}#9", table.path)));
}

#[test]
fn where_lines_are_ids_only_the_broken_one_is_kept() {
    let table = table("a.jsonl", "{\"text\":\"a\"}\nkelp\n");
    assert_eq!(table.told(), ["#L1", "failed #L2: line 2: it is no JSON object"]);
    let contains = |id: &str| table.sources.contains(&format!("{}#{id}", table.path));
    assert!(contains("L3") && !contains("L2"));
}

#[test]
fn an_id_that_is_taken_is_told_with_both_its_lines() {
    let table = table("a.csv", "id,text\na,1\nb,2\na,3\na,4\n");
    let taken = |line: u8| format!("failed #L{line}: line {line}: its id `a` is that of line 2");
    assert_eq!(table.told(), ["#a".to_owned(), "#b".to_owned(), taken(4), taken(5)]);
}

#[test]
fn ids_that_read_like_lines_are_told_from_them() {
    let table = table("a.jsonl", "{\"id\":\"L2\"}\n{\"text\":\"x\"}\n{\"id\":\"=L2\"}\n{\"id\":\"Label\"}\n");
    assert_eq!(table.told(), ["#=L2", "#L2", "#==L2", "#Label"]);
}

#[test]
fn ids_are_bounded() {
    let long = format!("{{\"id\":\"{}\"}}\n{{\"id\":\"\"}}", "x".repeat(1_025));
    let want =
        ["failed #L1: line 1: its id has 1025 bytes, more than 1024", "failed #L2: line 2: its id is empty"];
    assert_eq!(table("a.jsonl", &long).told(), want);
    let config = Config { max_records: 2, ..Config::default() };
    let table = table_with("a.csv", b"id,text\n1,a\n2,b\n3,c\n4,d\n", RecordOptions::default(), config);
    let want = "failed : it has more than 2 records with ids: raise `index.max_records`";
    assert_eq!(table.told(), ["#1", "#2", want]);
    assert!(!table.sources.contains(&format!("{}#4", table.path)));
}

#[test]
fn a_table_without_what_is_asked_for_fails_whole() {
    let records = RecordOptions { text_fields: vec!["body".into()], ..RecordOptions::default() };
    let table = table_with("a.csv", b"id,note\n1,a\n", records, Config::default());
    assert_eq!(table.told(), ["failed : it has no column `body`; it has `id`, `note`"]);
    assert!(!table.sources.contains(&format!("{}#1", table.path)));
}

#[test]
fn a_row_that_is_too_short_fails_alone() {
    let table = table("a.csv", "id;text\n1;a\n2\n3;c\n");
    assert_eq!(table.told(), ["#1", "failed #L3: line 3: it has 1 fields, and the first row has 2", "#3"]);
}

#[test]
fn a_table_without_names_has_records_from_the_first_row_on() {
    let records = RecordOptions { no_header: true, id_field: Some("1".into()), ..RecordOptions::default() };
    assert_eq!(table_with("a.tsv", b"x\tone\ny\ttwo\n", records, Config::default()).told(), ["#x", "#y"]);
}

#[test]
fn a_file_may_be_read_as_something_else_than_its_name_says() {
    let format = |format| RecordOptions { format, ..RecordOptions::default() };
    let told = |name: &str, of| table_with(name, b"{\"id\":1}\n", format(of), Config::default()).told();
    assert_eq!(told("a.jsonl", Format::Never), [""]);
    assert_eq!(told("a.txt", Format::Jsonl), ["#1"]);
    assert_eq!(told("a.txt", Format::Auto), [""]);
}

#[test]
fn what_is_no_text_is_skipped_as_a_whole() {
    let table = table_with("a.csv", b"\x89PNG\0\0", RecordOptions::default(), Config::default());
    assert_eq!(table.told(), ["skipped : it is a PNG picture, not text"]);
}

#[tokio::test]
async fn a_table_in_an_old_encoding_leads_back_to_its_bytes() {
    let (bytes, ..) =
        encoding_rs::WINDOWS_1254.encode("id;metin\n1;plain\n2;\"şehir \"\"İzmir\"\"\"\n3;ağaç\n");
    let table = table_with("a.csv", &bytes, RecordOptions::default(), Config::default());
    assert_eq!(table.told(), ["#1", "#2", "#3"]);
    let want: [(&str, &[u8]); 3] =
        [("plain", b"plain"), ("şehir \"İzmir\"", b"\xFEehir \"\"\xDDzmir\"\""), ("ağaç", b"a\xF0a\xE7")];
    table.check_texts(&want).await;
}

#[tokio::test]
async fn a_table_in_utf16_leads_back_to_its_bytes() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let table = table_with(
        "a.tsv",
        &wide("\u{FEFF}id\ttext\n1\tağ 🌊\n"),
        RecordOptions::default(),
        Config::default(),
    );
    assert_eq!(table.told(), ["#1"]);
    table.check_texts(&[("ağ 🌊", &wide("ağ 🌊"))]).await;
}

#[test]
fn a_broken_byte_fails_its_record_alone() {
    let table = table_with(
        "a.csv",
        b"text\n\xC4\x9F\n\xC4\x9F\xFF\n\xC5\x9F\n",
        RecordOptions::default(),
        Config::default(),
    );
    let why = "it looks like UTF-8, and the byte 0xFF at offset 10 is none of it: save it as UTF-8";
    assert_eq!(table.told(), ["#L2".to_owned(), format!("failed #L3: line 3: {why}"), "#L4".to_owned()]);
}

#[test]
fn a_record_is_as_it_was_until_its_bytes_or_its_place_change() {
    let table = table("a.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    let before = table.found();
    std::fs::write(&table.path, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n").unwrap();
    assert_eq!(table.found()[..2], before[..]);
    std::fs::write(&table.path, "{\"id\":0}\n{\"id\":1}\n{\"id\":2}\n").unwrap();
    assert_ne!(table.found()[1].modified, before[0].modified);
}

#[tokio::test]
async fn a_record_whose_file_changed_since_is_not_mistaken_for_another() {
    let table = table("a.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    let found = table.found();
    let reader = Reader::new(&table.config, None);
    for text in ["{\"id\":2}\n{\"id\":1}\n", "{}"] {
        std::fs::write(&table.path, text).unwrap();
        let error = reader.read(&found[1], None).await.unwrap_err();
        assert_eq!(error.to_string(), "it changed each time it was read");
    }
    assert!(table.folder.path().exists());
}

#[test]
fn a_file_that_changes_while_it_is_walked_has_lost_nothing() {
    let table = table("a.jsonl", &"{\"id\":1}\n".repeat(3));
    let mut told = Vec::new();
    table.sources.walk(&mut |item| {
        if told.is_empty() {
            std::fs::write(&table.path, "{\"id\":1}\n").unwrap();
        }
        told.push(item);
        Continue(())
    });
    let Some(Item::Failed { source, reason }) = told.last() else { panic!("{told:?}") };
    assert_eq!((source, reason.as_str()), (&table.path, "it changed while it was read"));
    assert!(!table.sources.contains(&format!("{}#9", table.path)));
}

#[test]
fn an_origin_is_kept_and_read_again() {
    let records = RecordOptions { metadata_fields: vec!["n".into()], ..RecordOptions::default() };
    for (name, text) in [("a.jsonl", "{\"n\":1,\"text\":\"ğ\"}\n"), ("a.csv", "n,text\n1,ğ\n")] {
        let table = table_with(name, text.as_bytes(), records.clone(), Config::default());
        let origin = table.found()[0].origin.clone();
        assert_eq!(Origin::from_json(&origin.to_json()), Some(origin));
    }
    let url = Origin::Url { media_type: "text/html", etag: Some("\"x\"".into()), last_modified: None };
    assert_eq!(Origin::from_json(&url.to_json()), Some(url));
    assert_eq!(Origin::from_json("{\"kind\":\"moon\"}"), None);
}
