//! What every chunking must be, over generated and over hostile texts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use embergate_cut::settings::Value;
use embergate_cut::testing::{Host, PARAGRAPHS, Tokens, check_golden, segment};
use embergate_cut::{Boundary, Cuts, Span};
use proptest::prelude::*;

use crate::recursive::{Config, split};

fn chunks(text: &str, tokens: Tokens, config: Config) -> Cuts {
    split(text, &Host::new(text, tokens), config, u32::MAX, Some("tr")).unwrap()
}

/// Cuts `text` and checks all that holds for any text, tokenizer and limit.
#[track_caller]
fn check(text: &str, tokens: Tokens, config: Config) -> Cuts {
    let cuts = chunks(text, tokens, config);
    let host = Host::new(text, tokens);
    check_coverage(text, &cuts);
    check_order(text, &cuts, config);
    check_clusters(text, &cuts, &host, config.max_tokens);
    for span in &cuts.spans {
        let chunk = span.of(text);
        assert!(!chunk.trim().is_empty(), "{span:?} holds white space only");
        assert!(host.count(chunk) <= config.max_tokens, "{span:?} is over the limit");
    }
    for span in &cuts.omitted {
        let left_out = span.of(text);
        assert_eq!(left_out.chars().count(), 1, "{span:?} is left out, but could be cut");
        assert!(host.count(left_out) > config.max_tokens, "{span:?} is left out, but fits");
    }
    assert_eq!(cuts, chunks(text, tokens, config), "a second run gives the same");
    cuts
}

#[track_caller]
fn check_coverage(text: &str, cuts: &Cuts) {
    let mut all: Vec<Span> = cuts.spans.iter().chain(&cuts.omitted).copied().collect();
    all.sort_by_key(|span| span.start);
    let mut covered = 0;
    for span in all {
        if span.start > covered {
            assert_eq!(text[covered..span.start].trim(), "", "lost before {span:?}");
        }
        covered = covered.max(span.end);
    }
    assert_eq!(text[covered..].trim(), "", "lost at the end");
}

#[track_caller]
fn check_order(text: &str, cuts: &Cuts, config: Config) {
    let most = (f64::from(config.max_tokens) * config.overlap) as u32;
    let whole = Host::new(text, Tokens::Words);
    for pair in cuts.spans.windows(2) {
        assert!(pair[0].start < pair[1].start && pair[0].end <= pair[1].end, "{pair:?}");
        if pair[1].start < pair[0].end {
            assert!(whole.count(&text[pair[1].start..pair[0].end]) <= most, "{pair:?} share too much");
        }
    }
    for triple in cuts.spans.windows(3) {
        assert!(triple[0].end <= triple[2].start, "{triple:?}: overlap with more than the one before");
    }
}

/// An end inside a grapheme cluster is right only where that cluster is over the limit.
#[track_caller]
fn check_clusters(text: &str, cuts: &Cuts, host: &Host<'_>, limit: u32) {
    let ends = segment(text, Boundary::Grapheme);
    let mut known_long = None;
    for at in cuts.spans.iter().flat_map(|span| [span.start, span.end]) {
        let index = ends.partition_point(|&end| (end as usize) < at);
        if at == 0 || ends[index] as usize == at || known_long == Some(index) {
            continue;
        }
        let start = if index == 0 { 0 } else { ends[index - 1] as usize };
        let cluster = &text[start..ends[index] as usize];
        assert!(host.count(cluster) > limit, "cluster {cluster:?} is cut at {at}");
        known_long = Some(index);
    }
}

fn config(max_tokens: u32) -> Config {
    Config { max_tokens, overlap: 0.0 }
}

fn prose(n_paragraphs: usize) -> String {
    (0..n_paragraphs).fold(String::new(), |mut text, index| {
        let (_, paragraph) = PARAGRAPHS[index % PARAGRAPHS.len()];
        write!(text, "{index} {paragraph}\n\n").unwrap();
        text
    })
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => (0..PARAGRAPHS.len()).prop_map(|index| PARAGRAPHS[index].1.to_owned()),
        4 => "[ a-zçğıİ.,0-9]{1,60}",
        4 => Just("\n\n".to_owned()),
        2 => Just("\r\n".to_owned()),
        1 => Just("\u{c}".to_owned()),
        1 => Just(" \u{301}".to_owned()),
        1 => Just("\u{600} ".to_owned()),
        1 => Just("👨‍👩‍👧‍👦🇹🇷".to_owned()),
        1 => Just("e\u{301}\u{323}".repeat(9)),
        2 => "\\PC{0,20}",
        1 => "[\\x00-\\x20]{0,6}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn any_tokens() -> impl Strategy<Value = Tokens> {
    prop_oneof![Just(Tokens::Words), Just(Tokens::Bytes), Just(Tokens::Odd)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_cut_as_promised(text in any_text(), tokens in any_tokens(), limit in 1_u32..80) {
        check(&text, tokens, config(limit));
    }

    #[test]
    fn overlap_stays_in_the_chunk_before(text in any_text(), limit in 5_u32..80, overlap in 0.01..0.2) {
        check(&text, Tokens::Words, Config { max_tokens: limit, overlap });
    }

    #[test]
    fn an_edit_changes_no_chunk_well_before_it(at in 0.2..1.0, limit in 20_u32..60) {
        let before = prose(28);
        let at = before.floor_char_boundary((before.len() as f64 * at) as usize);
        let after = format!("{}xyzzy {}", &before[..at], &before[at..]);
        let old = chunks(&before, Tokens::Words, config(limit)).spans;
        let new = chunks(&after, Tokens::Words, config(limit)).spans;
        let n_same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let n_before = old.iter().filter(|span| span.end <= at).count();
        prop_assert!(n_same + 2 >= n_before, "{n_same} of {n_before} chunks before the edit stayed");
    }
}

#[test]
fn an_edit_is_forgotten_within_a_few_paragraphs() {
    let before = prose(70);
    let at = before.find("\n\n10 ").unwrap();
    let after = format!("{} Bir cümle daha.{}", &before[..at], &before[at..]);
    let texts = |text: &str| -> Vec<String> {
        let cuts = chunks(text, Tokens::Words, config(120));
        cuts.spans.iter().map(|span| span.of(text).to_owned()).collect()
    };
    let (old, new) = (texts(&before), texts(&after));
    let n_changed = new.iter().filter(|chunk| !old.contains(chunk)).count();
    assert!(n_changed <= 3, "{n_changed} of {} chunks changed", new.len());
}

#[test]
fn hostile_texts_end() {
    let texts = [
        String::new(),
        "x".into(),
        " \r\n\t ".repeat(1000),
        "\0".repeat(10_000),
        "a".repeat(1 << 18),
        "İ".repeat(100_000),
        format!("e{}", "\u{301}".repeat(50_000)),
        "👨‍👩‍👧‍👦".repeat(10_000),
        "مرحبا\u{202e} ".repeat(10_000),
        "\u{301}".repeat(20_000),
        "\r\n".repeat(20_000) + "x",
        " \u{301}".repeat(20_000),
        "a. ".repeat(50_000),
    ];
    for text in &texts {
        for limit in [1, 2, 7, 400] {
            for tokens in [Tokens::Words, Tokens::Bytes] {
                check(text, tokens, config(limit));
            }
        }
    }
}

#[test]
fn nothing_gives_no_chunk() {
    assert_eq!(check("", Tokens::Words, config(400)).spans, []);
    assert_eq!(check(" \n\u{3000}\r\n ", Tokens::Words, config(400)).spans, []);
}

#[test]
fn a_small_document_is_tokenized_once_and_a_large_one_little_more_than_twice() {
    for (text, most) in
        [(prose(1), 1.0), (prose(7 * 64), 2.05), (prose(7 * 256), 2.05), ("a ".repeat(1 << 17), 2.05)]
    {
        let host = Host::new(&text, Tokens::Words);
        split(&text, &host, config(400), 2048, None).unwrap();
        let times = host.n_tokenized.get() as f64 / text.len() as f64;
        assert!(times <= most, "{} bytes were tokenized {times:.3} times", text.len());
        assert!(host.n_segmented.get() <= 3 * text.len());
    }
}

#[test]
fn paragraphs_that_fit_need_no_segments() {
    let text = "A short paragraph about nothing much at all.\n\n".repeat(2000);
    let host = Host::new(&text, Tokens::Words);
    split(&text, &host, config(400), 2048, None).unwrap();
    assert_eq!(host.n_segmented.get(), 0);
}

#[test]
fn no_tail_is_left_over() {
    for n_words in 400..520 {
        let text = "word ".repeat(n_words);
        let cuts = check(&text, Tokens::Words, config(400));
        let last = cuts.spans.last().unwrap().of(&text);
        assert!(last.split(' ').count() >= 95, "{n_words} words end in a tail of {last:?}");
    }
}

#[test]
fn the_models_limit_is_kept_where_it_is_the_smaller() {
    let text = "word ".repeat(100);
    let cuts = split(&text, &Host::new(&text, Tokens::Words), Config::default(), 10, None).unwrap();
    assert!(cuts.spans.iter().all(|span| span.of(&text).split(' ').count() <= 10));
    assert!(split(&text, &Host::new(&text, Tokens::Words), Config::default(), 0, None).is_err());
}

#[test]
fn without_a_limit_of_its_own_the_callers_counts() {
    let text = "word ".repeat(900);
    let cuts = split(&text, &Host::new(&text, Tokens::Words), Config::default(), 800, None).unwrap();
    let longest = cuts.spans.iter().map(|span| span.of(&text).split(' ').count()).max().unwrap();
    assert!((401..=800).contains(&longest), "{longest} words");
}

#[track_caller]
fn check_config(key: &str, value: Value, want: Result<Config, &str>) {
    let got = Config::from_values([(key.to_owned(), value)]);
    assert_eq!(got, want.map_err(str::to_owned));
}

#[test]
fn a_limit_is_read() {
    check_config("max_tokens", Value::Integer(64), Ok(config(64)));
}
#[test]
fn a_limit_of_nothing_is_refused() {
    check_config(
        "max_tokens",
        Value::Integer(0),
        Err("`max_tokens` is `0`: it must be an integer from 1 to 4294967295"),
    );
}
#[test]
fn a_limit_in_words_is_refused() {
    check_config(
        "max_tokens",
        Value::Text("many".into()),
        Err("`max_tokens` is `\"many\"`: it must be an integer from 1 to 4294967295"),
    );
}
#[test]
fn an_overlap_is_a_share() {
    check_config("overlap", Value::Decimal(0.1), Ok(Config { overlap: 0.1, ..Config::default() }));
}
#[test]
fn more_overlap_than_a_fifth_is_refused() {
    check_config(
        "overlap",
        Value::Decimal(0.5),
        Err("`overlap` is `0.5`: it must be a number from 0.0 to 0.2"),
    );
}
#[test]
fn no_number_is_no_overlap() {
    check_config(
        "overlap",
        Value::Decimal(f64::NAN),
        Err("`overlap` is `NaN`: it must be a number from 0.0 to 0.2"),
    );
}
#[test]
fn an_unknown_key_is_refused() {
    check_config(
        "max_token",
        Value::Integer(1),
        Err("there is no key `max_token`; there are: `max_tokens`, `overlap`"),
    );
}

/// Each `cases/NAME.txt`, cut at 40 tokens, is what `cases/NAME.chunks` shows.
#[test]
fn golden_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut n_cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).unwrap();
            let language = path.file_stem().unwrap().to_str().unwrap();
            let host = Host::new(&text, Tokens::Words);
            let cuts = split(&text, &host, config(40), 2048, Some(language)).unwrap();
            let mut shown = String::new();
            for span in cuts.spans {
                let chunk = span.of(&text);
                let n_tokens = host.count(chunk);
                writeln!(shown, "=== {}..{}, {n_tokens} tokens\n{chunk}", span.start, span.end).unwrap();
            }
            check_golden(&path.with_extension("chunks"), &shown);
            n_cases += 1;
        }
    }
    assert!(n_cases > 0, "no case in {}", folder.display());
}
