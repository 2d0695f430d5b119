//! What every chunking of Markdown must be, over generated and over hostile documents.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use embergate_cut::settings::Value;
use embergate_cut::testing::{Host, PARAGRAPHS, Tokens, check_golden, segment};
use embergate_cut::{Boundary, Span};
use proptest::prelude::*;

use crate::markdown::{Answer, Chunk, Config, split};

fn config(max_tokens: u32) -> Config {
    Config { max_tokens, ..Config::default() }
}

fn answer(text: &str, tokens: Tokens, config: Config) -> Answer {
    split(text, &Host::new(text, tokens), config, u32::MAX, None).unwrap()
}

/// Cuts `text` and checks all that holds for any text, tokenizer and limit.
#[track_caller]
fn check(text: &str, tokens: Tokens, config: Config) -> Answer {
    let answer = answer(text, tokens, config);
    let host = Host::new(text, tokens);
    check_coverage(text, &answer);
    check_clusters(text, &answer, &host, config.max_tokens);
    for chunk in &answer.chunks {
        let Chunk { span, prefix, .. } = chunk;
        assert!(!span.of(text).trim().is_empty(), "{chunk:?} holds white space only");
        let n_tokens = host.count(&format!("{prefix}{}", span.of(text)));
        assert!(n_tokens <= config.max_tokens, "{chunk:?} has {n_tokens} tokens");
    }
    for (span, reason) in &answer.omitted {
        assert!(!reason.starts_with("this character") || span.of(text).chars().count() == 1);
    }
    assert_eq!(answer, self::answer(text, tokens, config), "a second run gives the same");
    answer
}

/// Everything but white space is in one chunk or one omission, in order.
#[track_caller]
fn check_coverage(text: &str, answer: &Answer) {
    assert!(answer.chunks.is_sorted_by(|a, b| a.span.end <= b.span.start), "{:?}", answer.chunks);
    let mut all: Vec<Span> = answer.chunks.iter().map(|chunk| chunk.span).collect();
    all.extend(answer.omitted.iter().map(|(span, _)| *span));
    all.sort_by_key(|span| span.start);
    let mut covered = 0;
    for span in all {
        assert!(covered <= span.start, "{span:?} is in two");
        assert_eq!(text[covered..span.start].trim(), "", "lost before {span:?}");
        covered = span.end;
    }
    assert_eq!(text[covered..].trim(), "", "lost at the end");
}

/// An end inside a grapheme cluster is right only where blocks or limits leave no other.
#[track_caller]
fn check_clusters(text: &str, answer: &Answer, host: &Host<'_>, limit: u32) {
    let ends = segment(text, Boundary::Grapheme);
    let blocks = crate::blocks::parse(text).blocks;
    let is_block_edge = |at| blocks.iter().any(|block| block.span.start == at || block.span.end == at);
    let mut known = None;
    for at in answer.chunks.iter().flat_map(|chunk| [chunk.span.start, chunk.span.end]) {
        let index = ends.partition_point(|&end| (end as usize) < at);
        if at == 0 || ends[index] as usize == at || known == Some(index) || is_block_edge(at) {
            continue;
        }
        let start = if index == 0 { 0 } else { ends[index - 1] as usize };
        let cluster = &text[start..ends[index] as usize];
        // With the longest prefix that may stand before it.
        let mut prefixes = answer.chunks.iter().map(|chunk| &chunk.prefix);
        let is_too_long = prefixes.any(|prefix| host.count(&format!("{prefix}{cluster}")) > limit);
        assert!(is_too_long, "cluster {cluster:?} is cut at {at}");
        known = Some(index);
    }
}

/// A line and the headings above it, its own included: where each begins, and its text.
struct Line<'t> {
    at: usize,
    text: &'t str,
    is_heading: bool,
    path: Vec<(usize, &'t str)>,
}

/// Found without a Markdown parser: `#` at the start of a line that is in no fence.
fn reference_walk(text: &str) -> Vec<Line<'_>> {
    let (mut lines, mut at, mut is_fenced) = (Vec::new(), 0, false);
    let mut above: Vec<(usize, usize, &str)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        }
        let level = line.bytes().take_while(|&b| b == b'#').count();
        let is_heading = !is_fenced && (1..=6).contains(&level) && line[level..].starts_with(' ');
        if is_heading {
            above.retain(|(other, ..)| *other < level);
            above.push((level, at, line[level..].trim()));
        }
        let path = above.iter().map(|&(_, at, heading)| (at, heading)).collect();
        lines.push(Line { at, text: line.trim(), is_heading, path });
        at += line.len();
    }
    lines
}

/// A chunk's path is what all its lines share; headings that lead to its first text count as that text.
#[track_caller]
fn check_paths(text: &str, answer: &Answer) {
    let walk = reference_walk(text);
    for Chunk { span, headings, .. } in &answer.chunks {
        let from = walk.partition_point(|line| line.at <= span.start) - 1;
        let to = walk.partition_point(|line| line.at < span.end);
        let lines: Vec<&Line<'_>> = walk[from..to].iter().filter(|line| !line.text.is_empty()).collect();
        let Some(first) = lines.iter().find(|line| !line.is_heading).map(|line| &line.path) else { continue };
        let n_shared = lines
            .iter()
            .filter(|line| !(line.is_heading && first.iter().any(|(at, _)| *at == line.at)))
            .map(|line| line.path.iter().zip(first).take_while(|(a, b)| a == b).count())
            .min();
        let want: Vec<&str> = first.iter().take(n_shared.unwrap_or(0)).map(|(_, heading)| *heading).collect();
        assert_eq!(*headings, want, "for {:?}", span.of(text));
    }
}

fn any_block() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (0..PARAGRAPHS.len()).prop_map(|index| format!("{}\n\n", PARAGRAPHS[index].1)),
        5 => (1_usize..5, "[A-D]{1,2}").prop_map(|(level, name)| format!("{} {name}\n\n", "#".repeat(level))),
        2 => Just("```sh\n# no heading\nls -l\n```\n\n".to_owned()),
        2 => (1_usize..12).prop_map(|n| format!("| a | b |\n|---|---|\n{}\n", "| one | two |\n".repeat(n))),
        2 => (1_usize..6).prop_map(|n| format!("{}\n", "- item\n  - nested item\n".repeat(n))),
        1 => Just("> quoted\n> # not a heading of ours\n\n".to_owned()),
        1 => Just("***\n\n".to_owned()),
    ]
}

fn any_document() -> impl Strategy<Value = String> {
    prop::collection::vec(any_block(), 0..20).prop_map(|blocks| blocks.concat())
}

fn any_mess() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any_block(),
        4 => "[-#>|`*_\\[\\]:!~ \\n\\r\\t1.=+<a-c]{0,24}",
        1 => Just("[ref]: https://example.org 'title'\n".to_owned()),
        1 => Just("[^1]: a note\n\n    more\n".to_owned()),
        1 => Just("Title\n===\n".to_owned()),
        1 => Just("---\ntitle: x\n---\n".to_owned()),
        1 => Just("\u{feff}\0 \u{301}👨‍👩‍👧".to_owned()),
        1 => "\\PC{0,12}",
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn any_tokens() -> impl Strategy<Value = Tokens> {
    prop_oneof![Just(Tokens::Words), Just(Tokens::Bytes), Just(Tokens::Odd)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_document_is_cut_as_promised(text in any_document(), tokens in any_tokens(), limit in 1_u32..120) {
        check(&text, tokens, config(limit));
    }

    #[test]
    fn any_mess_is_cut_as_promised(text in any_mess(), tokens in any_tokens(), limit in 1_u32..120) {
        check(&text, tokens, config(limit));
    }

    #[test]
    fn paths_are_those_of_a_plain_walk(text in any_document(), limit in 40_u32..200) {
        check_paths(&text, &check(&text, Tokens::Words, config(limit)));
    }

    #[test]
    fn code_and_rows_that_fit_stay_whole(text in any_document(), limit in 40_u32..120) {
        for Chunk { span, .. } in check(&text, Tokens::Words, config(limit)).chunks {
            let chunk = span.of(&text);
            prop_assert_eq!(chunk.matches("```").count() % 2, 0, "a fence is cut: {:?}", chunk);
            for line in chunk.lines().filter(|line| line.contains("| one")) {
                prop_assert_eq!(line.trim(), "| one | two |");
            }
        }
    }
}

#[test]
fn hostile_documents_end() {
    let documents = [
        String::new(),
        "#".into(),
        "\n \t\r\n".repeat(500),
        "a".repeat(1 << 17),
        "İ".repeat(50_000),
        format!("# e{}", "\u{301}".repeat(20_000)),
        "# 👨‍👩‍👧‍👦\n".repeat(2_000),
        "\0".repeat(5_000),
        "- ".repeat(20_000),
        "> ".repeat(20_000),
        (0..1_000).map(|depth| format!("{}- x\n", "  ".repeat(depth.min(60)))).collect(),
        "| a | b |\n|---|---|\n".to_owned() + &"| c | d |\n".repeat(5_000),
        "# A\n## B\n### C\n".repeat(2_000),
        "[a]: b\n".repeat(5_000),
        "`".repeat(20_000),
        "[".repeat(20_000),
    ];
    for text in &documents {
        for limit in [1, 7, 400] {
            for tokens in [Tokens::Words, Tokens::Bytes] {
                check(text, tokens, config(limit));
            }
        }
    }
}

#[test]
fn work_grows_with_the_document_and_no_faster() {
    let section = |n: usize| format!("## Part {n}\n\n{}\n\n", PARAGRAPHS[0].1.repeat(3));
    for n_sections in [64, 512] {
        let text = (0..n_sections).fold("# Guide\n\n".to_owned(), |text, n| text + &section(n));
        let host = Host::new(&text, Tokens::Words);
        split(&text, &host, config(400), 2048, None).unwrap();
        let times = host.n_tokenized.get() as f64 / text.len() as f64;
        assert!(times < 2.3, "{} bytes were tokenized {times:.3} times", text.len());
        assert!(host.n_segmented.get() <= 3 * text.len());
    }
}

#[test]
fn without_a_limit_of_its_own_the_callers_counts() {
    let text = "word ".repeat(700);
    let answer = split(&text, &Host::new(&text, Tokens::Words), Config::default(), 800, None).unwrap();
    assert_eq!(answer.chunks.len(), 1);
}

/// The chunks of `text` at `limit`, each as its prefix, a bar, and its text.
#[track_caller]
fn check_chunks(text: &str, limit: u32, want: &[&str]) {
    let answer = check(text, Tokens::Words, config(limit));
    let got: Vec<String> =
        answer.chunks.iter().map(|chunk| format!("{}|{}", chunk.prefix, chunk.span.of(text))).collect();
    assert_eq!(got, want);
}

#[test]
fn a_chunk_repeats_no_heading_that_is_in_its_text() {
    check_chunks("# A\n\none two", 40, &["|# A\n\none two"]);
}
#[test]
fn a_heading_without_text_goes_down() {
    check_chunks("# A\n\n## B\n\none two", 40, &["|# A\n\n## B\n\none two"]);
}
#[test]
fn a_setext_heading_is_a_heading() {
    let answer = check("Top\n===\n\nSub\n---\n\ntext", Tokens::Words, config(40));
    assert_eq!(answer.chunks[0].headings, ["Top", "Sub"]);
}
#[test]
fn chunks_after_the_first_name_their_section() {
    let text = format!("# Guide\n\n{}", "one two three four. ".repeat(20));
    let answer = check(&text, Tokens::Words, config(60));
    assert!(answer.chunks.len() > 1);
    assert!(answer.chunks[1..].iter().all(|chunk| chunk.prefix == "Guide\n\n"), "{:?}", answer.chunks);
}
#[test]
fn a_table_that_is_cut_repeats_its_head() {
    let text = "| a | b |\n|---|---|\n".to_owned() + &"| one | two |\n".repeat(30);
    let answer = check(&text, Tokens::Words, config(80));
    assert!(answer.chunks.len() > 1);
    assert_eq!(answer.chunks[0].prefix, "");
    assert!(
        answer.chunks[1..].iter().all(|chunk| chunk.prefix == "| a | b |\n|---|---|\n"),
        "{:?}",
        answer.chunks
    );
}
#[test]
fn front_matter_is_left_out_and_gives_the_title() {
    let text = "---\ntitle: \"Kelp\"\ntags: [a]\n---\n\ntext";
    let answer = check(text, Tokens::Words, config(40));
    assert_eq!(answer.title.as_deref(), Some("Kelp"));
    assert_eq!(answer.omitted, [(Span::new(0, text.len() - 5), "front matter")]);
    assert_eq!(answer.chunks[0].prefix, "Kelp\n\n");
}
#[test]
fn a_thematic_break_opens_no_front_matter() {
    check_chunks("---\n\nsome: text\n\n---\n", 40, &["|---\n\nsome: text\n\n---"]);
}
#[test]
fn definitions_at_the_end_are_left_out() {
    let answer = check("see [a]\n\n[a]: /b\n[a]: /c\n", Tokens::Words, config(40));
    assert_eq!(
        answer.omitted.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(),
        ["link reference definitions"]
    );
}
#[test]
fn small_siblings_share_a_chunk_and_the_path_above_them() {
    let answer = check("# A\n\nx\n\n## B\n\ny\n\n## C\n\nz", Tokens::Words, config(60));
    assert_eq!(answer.chunks.len(), 1);
    assert_eq!(answer.chunks[0].headings, ["A"]);
}
#[test]
fn sections_with_nothing_above_them_stay_apart() {
    let answer = check("# A\n\nx\n\n# B\n\ny", Tokens::Words, config(60));
    assert_eq!(answer.chunks.len(), 2);
}
#[test]
fn a_path_that_is_too_long_loses_its_beginning() {
    let long = "word ".repeat(30);
    let text = format!("# {long}\n\n## Short\n\n{}", "one two three four. ".repeat(30));
    let answer = check(&text, Tokens::Words, config(80));
    assert_eq!(answer.chunks.last().unwrap().prefix, "… › Short\n\n");
}

#[track_caller]
fn check_config(key: &str, value: Value, want: Result<Config, &str>) {
    assert_eq!(Config::from_values([(key.to_owned(), value)]), want.map_err(str::to_owned));
}

#[test]
fn the_prefix_can_be_switched_off() {
    check_config("prefix", Value::Flag(false), Ok(Config { prefix: false, ..Config::default() }));
}
#[test]
fn a_prefix_that_is_no_flag_is_refused() {
    check_config("prefix", Value::Integer(1), Err("`prefix` is `1`: it must be `true` or `false`"));
}
#[test]
fn an_unknown_key_is_refused() {
    let want = Err("there is no key `overlap`; there are: `max_tokens`, `prefix`");
    check_config("overlap", Value::Decimal(0.1), want);
}

/// Each `cases/NAME.md`, cut at 60 tokens, is what `cases/NAME.chunks` shows.
#[test]
fn golden_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut n_cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            check_golden(
                &path.with_extension("chunks"),
                &shown(&text, &check(&text, Tokens::Words, config(60))),
            );
            n_cases += 1;
        }
    }
    assert!(n_cases > 0, "no case in {}", folder.display());
}

fn shown(text: &str, answer: &Answer) -> String {
    let mut shown = String::new();
    for (span, reason) in &answer.omitted {
        writeln!(shown, "--- {}..{} left out: {reason}", span.start, span.end).unwrap();
    }
    for Chunk { span, prefix, headings } in &answer.chunks {
        writeln!(shown, "=== {}..{} {}", span.start, span.end, headings.join(" › ")).unwrap();
        if !prefix.is_empty() {
            writeln!(shown, "[{}]", prefix.trim_end()).unwrap();
        }
        writeln!(shown, "{}", span.of(text)).unwrap();
    }
    shown
}
