//! Text → configuration, with every mistake told at once and in people's words.
//!
//! The parser stops at the first mistake. So what it stopped at is noted and
//! taken out, and what is left is parsed again, until nothing is wrong with it.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, de};

use super::{Config, Problem, check, keys};

/// Mistakes that are told at once, at most.
const MAX_PROBLEMS: usize = 20;

/// The text of a file, and where its keys and values stand in it.
pub(super) struct Source<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

/// A step from a table into a value: a key, or the place in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// What the parser stopped at.
struct Place {
    steps: Vec<Step>,
    /// The key itself, and not its value.
    is_key: bool,
}

impl<'t> Source<'t> {
    pub(super) fn new(bytes: &'t [u8]) -> Result<Self, Vec<Problem>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = error.valid_up_to();
            let line = 1 + memchr::memchr_iter(b'\n', &bytes[..valid]).count();
            vec![Problem {
                line: Some(line),
                message: format!("the file is not UTF-8 from byte {valid} on"),
                remedy: Some("save it as UTF-8".into()),
            }]
        })?;
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root });
        }
        Err(errors.iter().take(MAX_PROBLEMS).map(|error| not_toml(text, error)).collect())
    }

    /// Reads the configuration; knows nothing of whether it makes sense.
    pub(super) fn config(&self) -> Result<Config, Vec<Problem>> {
        let mut root = self.root.clone();
        let mut problems = Vec::new();
        let mut taken: Vec<Vec<Step>> = Vec::new();
        while taken.len() < MAX_PROBLEMS {
            let error = match Config::deserialize(de::Deserializer::from(root.clone())) {
                Ok(config) if problems.is_empty() => return Ok(config),
                Ok(_) => break,
                Err(error) => error,
            };
            let place = error.span().and_then(|span| find(root.get_ref(), &span));
            if !place.as_ref().is_some_and(|place| was_taken(&taken, &error, place)) {
                problems.push(self.problem(root.get_ref(), &error, place.as_ref()));
            }
            let Some(place) = place else { break };
            take_out(root.get_mut(), &place.steps);
            taken.push(place.steps);
        }
        problems.sort_by_key(|problem| problem.line);
        Err(problems)
    }

    /// Turns a fault of a sound file into a problem with a line.
    pub(super) fn locate(&self, fault: check::Fault) -> Problem {
        let span = span_of(self.root.get_ref(), &fault.path);
        Problem {
            line: span.map(|span| self.line(span.start)),
            message: fault.message,
            remedy: Some(fault.remedy),
        }
    }

    fn line(&self, at: usize) -> usize {
        line_of(self.text, at)
    }

    fn problem(&self, root: &DeTable<'_>, error: &de::Error, place: Option<&Place>) -> Problem {
        let line = error.span().map(|span| self.line(span.start));
        let (message, remedy) = match place {
            Some(place) => self.explain(root, error, place),
            None => (error.message().to_owned(), None),
        };
        Problem { line, message, remedy }
    }

    fn explain(&self, root: &DeTable<'_>, error: &de::Error, place: &Place) -> (String, Option<String>) {
        let message = error.message();
        if let Some(expected) = message.strip_prefix("unknown field ") {
            return unknown_key(root, &place.steps, &quoted(expected));
        }
        if let Some(key) = message.strip_prefix("missing field ") {
            return (format!("{} lacks the key {key}", section(root, &place.steps)), None);
        }
        // A wrong element is told as what is wrong with its list.
        let steps = match place.steps.as_slice() {
            [steps @ .., Step::Index(_)] if matches!(steps.last(), Some(Step::Key(_))) => steps,
            steps => steps,
        };
        let (holder, key) = match steps.split_last() {
            Some((Step::Key(key), holder)) if !place.is_key => (holder, key.as_str()),
            _ => return (format!("{}: {message}", section(root, &place.steps)), None),
        };
        let path = path_of(steps);
        let value = match path.as_str() {
            // It may be the key itself, and what prints errors is often a log.
            "key.sha256" => "…".to_owned(),
            _ => error.span().map(|span| self.excerpt(span)).unwrap_or_default(),
        };
        let subject = format!("`{key} = {value}` in {}", section(root, holder));
        let (complaint, remedy) = wrong_value(message, key, &path);
        (format!("{subject} {complaint}"), remedy)
    }

    /// The first line of what stands at `span`, not too much of it.
    fn excerpt(&self, span: Range<usize>) -> String {
        let whole = self.text.get(span).unwrap_or_default();
        let line = whole.lines().next().unwrap_or_default();
        let short: String = line.chars().take(60).collect();
        if short.len() < whole.len() { format!("{short}…") } else { short }
    }
}

/// Whether a key is missing only because it was taken out for an earlier mistake.
fn was_taken(taken: &[Vec<Step>], error: &de::Error, place: &Place) -> bool {
    let Some(rest) = error.message().strip_prefix("missing field ") else { return false };
    let missing = quoted(rest).into_iter().map(|key| Step::Key(key.to_owned()));
    let steps: Vec<Step> = place.steps.iter().cloned().chain(missing).collect();
    taken.contains(&steps)
}

fn not_toml(text: &str, error: &de::Error) -> Problem {
    Problem {
        line: error.span().map(|span| line_of(text, span.start)),
        message: format!("this is no TOML: {}", error.message().replace('\n', ", ")),
        remedy: None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..at.min(text.len())]).count()
}

/// Says what belongs in the place of an unknown key.
fn unknown_key(root: &DeTable<'_>, steps: &[Step], words: &[&str]) -> (String, Option<String>) {
    let Some((unknown, known)) = words.split_first() else {
        return ("unknown key".into(), None);
    };
    let holder = steps.split_last().map_or(steps, |(_, holder)| holder);
    let is_table = holder.is_empty() && keys::find(unknown).is_none() && is_table(root, unknown);
    let message = match is_table {
        true => format!("unknown table [{unknown}]"),
        false => format!("unknown key `{unknown}` {}", in_section(root, holder)),
    };
    let remedy = if let Some(near) = nearest(unknown, known) {
        if is_table { format!("did you mean [{near}]?") } else { format!("did you mean `{near}`?") }
    } else if let Some(table) = keys::holding(unknown) {
        format!("it belongs in [{table}]")
    } else if is_table {
        format!("the tables there are {}", known.join(", "))
    } else {
        format!("the keys there are {}", listed(known))
    };
    (message, Some(remedy))
}

fn is_table(root: &DeTable<'_>, name: &str) -> bool {
    let value = root.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref());
    matches!(value, Some(DeValue::Table(_) | DeValue::Array(_)))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The one of `known` that was probably meant: at most a third of its letters differ.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(word, name);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) <= 1.max(near.len() / 3)).then_some(near)
}

/// What serde puts between backticks.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// Says what is wrong with a value, and what belongs in its place.
fn wrong_value(message: &str, key: &str, path: &str) -> (String, Option<String>) {
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let words = quoted(rest);
        let Some((word, known)) = words.split_first() else { return ("is unknown".into(), None) };
        let remedy = match nearest(word, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!(
                "write {}",
                known.iter().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>().join(" or ")
            ),
        };
        return ("is unknown".into(), Some(remedy));
    }
    if message.contains("socket address") {
        let remedy = "write an address and a port, such as \"127.0.0.1:8642\"";
        return ("is not an address".into(), Some(remedy.into()));
    }
    let Some((_, expected)) = message.rsplit_once(", expected ") else {
        return (format!("is refused: {message}"), None);
    };
    let example = keys::find(path).and_then(|key| key.value.as_deref());
    let such_as = example.map(|value| format!(", such as `{key} = {value}`")).unwrap_or_default();
    match expected {
        "usize" | "u64" | "u32" | "u16" if message.starts_with("invalid value") => {
            ("is not a whole number".into(), Some(format!("write one of at least 0{such_as}")))
        }
        "usize" | "u64" | "u32" | "u16" => {
            ("is not a whole number".into(), Some(format!("write it without quotes{such_as}")))
        }
        "a duration" => {
            let remedy = "write a number and a unit, such as \"50ms\", \"10s\" or \"24h\"";
            ("is not a time".into(), Some(remedy.into()))
        }
        expected if expected.starts_with("a size") => {
            ("is not a size".into(), Some("write a number and a unit, such as \"64MiB\"".into()))
        }
        "a boolean" => ("is neither true nor false".into(), Some(format!("write `{key} = true`"))),
        "a sequence" => ("is not a list".into(), Some(format!("write it in brackets{such_as}"))),
        expected if expected.contains("string") => {
            ("is not a text".into(), Some(format!("write it in quotes{such_as}")))
        }
        expected if expected.starts_with("struct") || expected.contains("map") => {
            ("is not a table".into(), Some(format!("write `[{path}]`, and its keys below")))
        }
        other => (format!("is not {other}"), None),
    }
}

/// `in [server]`, `in [[upstream]] `gpu-1``, or `at the top of the file`.
fn in_section(root: &DeTable<'_>, steps: &[Step]) -> String {
    match steps {
        [] => "at the top of the file".into(),
        _ => format!("in {}", section(root, steps)),
    }
}

fn section(root: &DeTable<'_>, steps: &[Step]) -> String {
    let path = path_of(steps);
    match steps {
        [] => "the file".into(),
        [.., Step::Index(index)] => match name_of(root, steps) {
            Some(name) => format!("[[{path}]] `{name}`"),
            None => format!("[[{path}]] number {}", index + 1),
        },
        _ => format!("[{path}]"),
    }
}

fn path_of(steps: &[Step]) -> String {
    let keys = steps.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The `name` of a table in an array.
fn name_of<'r>(root: &'r DeTable<'_>, steps: &[Step]) -> Option<&'r str> {
    let mut at = steps.iter();
    let Some(Step::Key(first)) = at.next() else { return None };
    let mut value = get(root, first)?;
    for step in at {
        value = step_into(value, step)?;
    }
    get(value.get_ref().as_table()?, "name")?.get_ref().as_str()
}

fn get<'r, 'i>(table: &'r DeTable<'i>, key: &str) -> Option<&'r Spanned<DeValue<'i>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

fn step_into<'r, 'i>(value: &'r Spanned<DeValue<'i>>, step: &Step) -> Option<&'r Spanned<DeValue<'i>>> {
    match (value.get_ref(), step) {
        (DeValue::Table(table), Step::Key(key)) => get(table, key),
        (DeValue::Array(array), Step::Index(index)) => array.get(*index),
        _ => None,
    }
}

/// Where `path` (`model.0.upstreams`) stands, or the nearest table around it.
fn span_of(root: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let mut steps = path.split('.');
    let mut value = get(root, steps.next()?)?;
    for step in steps {
        let step = match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(step.to_owned()),
        };
        match step_into(value, &step) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    Some(value.span())
}

/// Finds the key or value that stands exactly at `span`; the innermost, where several do.
fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<Place> {
    table.iter().find_map(|(key, value)| {
        let step = Step::Key(key.get_ref().clone().into_owned());
        if key.span() == *span {
            return Some(Place { steps: vec![step], is_key: true });
        }
        find_in_value(value, span).map(|place| below(step, place))
    })
}

fn find_in_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Place> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => find(table, span),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, value)| {
            find_in_value(value, span).map(|place| below(Step::Index(index), place))
        }),
        _ => None,
    };
    inner.or_else(|| (value.span() == *span).then(|| Place { steps: Vec::new(), is_key: false }))
}

fn below(step: Step, mut place: Place) -> Place {
    place.steps.insert(0, step);
    place
}

fn take_out(table: &mut DeTable<'_>, steps: &[Step]) {
    let Some((Step::Key(key), rest)) = steps.split_first() else { return };
    if rest.is_empty() {
        let all = std::mem::take(table).into_iter();
        *table = all.filter(|(name, _)| name.get_ref() != key).collect();
        return;
    }
    for (name, value) in table.iter_mut() {
        if name.get_ref() == key {
            take_out_of_value(value.get_mut(), rest);
        }
    }
}

fn take_out_of_value(value: &mut DeValue<'_>, steps: &[Step]) {
    match (value, steps) {
        (DeValue::Table(table), _) => take_out(table, steps),
        (DeValue::Array(array), [Step::Index(index)]) => {
            let all = array.iter().enumerate();
            *array = all.filter(|(at, _)| at != index).map(|(_, kept)| kept.clone()).collect();
        }
        (DeValue::Array(array), [Step::Index(index), rest @ ..]) => {
            if let Some(inner) = array.get_mut(*index) {
                take_out_of_value(inner.get_mut(), rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that the parser knows in the table that `text` leads to: what it expects in the place of `zzz`.
    fn known_keys(text: &str) -> Vec<String> {
        let error = toml::from_str::<Config>(text).unwrap_err();
        let words = quoted(error.message());
        assert_eq!(words[0], "zzz", "{error}");
        words[1..].iter().map(|word| (*word).to_owned()).collect()
    }

    #[track_caller]
    fn check_explained(section: &str, text: &str) {
        let explained: Vec<&str> = keys::within(section).map(|(name, _)| name).collect();
        let known = known_keys(text);
        assert!(!known.is_empty());
        for key in &known {
            assert!(explained.contains(&key.as_str()), "`{key}` of [{section}] is not in the full example");
        }
        assert_eq!(explained.len(), known.len(), "[{section}] has {known:?}, the example {explained:?}");
    }

    #[test]
    fn the_full_example_has_every_key() {
        check_explained("", "zzz = 1");
        for table in [
            "server",
            "admin",
            "log",
            "embed",
            "cache",
            "batcher",
            "health",
            "plugins",
            "plugins.limits",
            "plugins.breaker",
            "store",
            "index",
        ] {
            check_explained(table, &format!("[{table}]\nzzz = 1"));
        }
        check_explained("key", "[[key]]\nzzz = 1");
        check_explained("upstream", "[[upstream]]\nzzz = 1");
        check_explained("model", "[[model]]\nzzz = 1");
        check_explained("model.prompts", "[[model]]\n[model.prompts]\nzzz = 1");
        check_explained("model.options", "[[model]]\n[model.options]\nzzz = 1");
        check_explained("plugin", "[[plugin]]\nzzz = 1");
        check_explained("collection", "[[collection]]\nzzz = 1");
        check_explained("collection.rule", "[[collection]]\n[[collection.rule]]\nzzz = 1");
    }

    #[test]
    fn every_example_is_a_sound_configuration() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config");
        let mut n_files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read(&path).unwrap();
            if let Err(problems) = super::super::read(&text) {
                panic!("{}: {problems:#?}", path.display());
            }
            n_files += 1;
        }
        assert!(5 <= n_files);
    }

    #[test]
    fn a_word_is_near_when_a_third_of_it_differs_at_most() {
        assert_eq!(nearest("lissten", &["listen", "max_body"]), Some("listen"));
        assert_eq!(nearest("max_txets", &["max_texts", "timeout"]), Some("max_texts"));
        assert_eq!(nearest("port", &["listen", "max_body"]), None);
    }
}
