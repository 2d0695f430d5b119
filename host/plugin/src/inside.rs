//! What is known of the inside of a guest that failed: the functions that were
//! running, by the names that their author gave them, and its last output.

use std::fmt::{self, Display, Formatter};

use wasmtime::{FrameInfo, WasmBacktrace};

use super::words::{cut, one_line};

/// Functions that are named, at most: the innermost ones.
const FRAMES: usize = 8;
/// Functions that are looked at: a panic has some above those that are named.
const MOST: usize = 32;
/// What a function without a name is called, with its number.
const NAMELESS: &str = "function ";
/// Bytes of a function's name and of a file's, at most, and of a name as compilers write it.
const NAME: usize = 160;
const MANGLED: usize = 4_096;

/// What stands above the author's own code on the stack of a panic, by the beginnings of names.
/// What has no name is such, too: the code that hands a call to the gateway.
const MACHINERY: [&str; 11] = [
    "std::panicking::",
    "std::panic::",
    "std::sys::",
    "std::process::",
    "std::alloc::",
    "core::panicking::",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "alloc::alloc::",
    "alloc::raw_vec::",
];
/// The same, by files.
const LIBRARIES: [&str; 4] =
    ["/library/std/src/", "/library/core/src/", "/library/alloc/src/", "/library/panic_abort/src/"];
/// The same, by whole names or modules.
const ENTRIES: [&str; 8] = [
    "rust_begin_unwind",
    "rust_panic",
    "__rust_start_panic",
    "__rustc",
    "rust_oom",
    "panic_abort",
    "abort",
    "abort_internal",
];

/// What panics of Rust end with. A guest has no environment, so nobody can follow it.
const HINT: &str = "note: run with `RUST_BACKTRACE=1`";

/// The stack of a guest and, as its cause, its last output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    Stack { frames: Vec<String>, output: Option<Output> },
    Output(Output),
}

/// The last lines that a guest wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output(String);

impl Inside {
    /// Nothing where nothing is known. `output` may be of several lines.
    pub(super) fn new(frames: Vec<String>, output: String) -> Option<Self> {
        let lines = output.lines().filter(|line| !line.starts_with(HINT));
        let output = lines.collect::<Vec<_>>().join("\n");
        let output = (!output.trim().is_empty()).then(|| Output(one_line(&output)));
        if frames.is_empty() { output.map(Self::Output) } else { Some(Self::Stack { frames, output }) }
    }

    /// What `error` tells of the guest's stack, with its last `output`.
    pub(super) fn of(error: &wasmtime::Error, output: String) -> Option<Self> {
        let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
        Self::new(named(frames), output)
    }
}

/// The names of the functions, the innermost first, without the machinery of panics
/// that is above them.
fn named(frames: &[FrameInfo]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for frame in frames {
        names.extend(names_of(frame));
        if MOST <= names.len() {
            break;
        }
    }
    let own = names.iter().position(|name| !is_machinery(name)).unwrap_or(0);
    names.drain(..own);
    names.truncate(FRAMES);
    names
}

/// A frame is several functions where the compiler put one into the other and says so, the
/// innermost first.
fn names_of(frame: &FrameInfo) -> Vec<String> {
    let name = |name: Option<&str>| match name {
        Some(name) => format!("`{}`", cut(&readable(name), NAME)),
        None => format!("{NAMELESS}{}", frame.func_index()),
    };
    let Some((own, within)) = frame.symbols().split_last() else { return vec![name(frame.func_name())] };
    // The function itself has its modules in its name, as debug information has them not.
    let own = (frame.func_name().or(own.name()), own);
    let symbols = within.iter().map(|symbol| (symbol.name(), symbol)).chain([own]);
    let told = symbols.map(|(named, symbol)| {
        let file = symbol.file().map(|file| cut(&one_line(file), NAME));
        match (file, symbol.line()) {
            (Some(file), Some(line)) => format!("{} ({file}:{line})", name(named)),
            (Some(file), None) => format!("{} ({file})", name(named)),
            (None, _) => name(named),
        }
    });
    told.collect()
}

/// As the author wrote it: no hash, no mangling, no control characters.
fn readable(name: &str) -> String {
    let name = &name[..name.floor_char_boundary(MANGLED)];
    one_line(&format!("{:#}", rustc_demangle::demangle(name)))
}

fn is_machinery(name: &str) -> bool {
    if name.starts_with(NAMELESS) || LIBRARIES.iter().any(|library| name.contains(library)) {
        return true;
    }
    let name = name.trim_start_matches(['`', '<']);
    let entry = |entry: &str| {
        name.strip_prefix(entry).is_some_and(|rest| rest.starts_with(['`', ':', '[', ' ']) || rest.is_empty())
    };
    MACHINERY.iter().any(|start| name.starts_with(start)) || ENTRIES.iter().any(|it| entry(it))
}

impl Display for Inside {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack { frames, .. } => write!(f, "in {}", frames.join(", called by ")),
            Self::Output(output) => output.fmt(f),
        }
    }
}

impl std::error::Error for Inside {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stack { output, .. } => output.as_ref().map(|output| output as _),
            Self::Output(_) => None,
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "its last output: {}", self.0)
    }
}

impl std::error::Error for Output {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_their_author_wrote_them() {
        assert_eq!(readable("_ZN5legal6redact17h0123456789abcdefE"), "legal::redact");
        assert_eq!(readable("redact_all"), "redact_all");
        assert_eq!(readable("a\u{1b}[31mb"), "a\u{FFFD}[31mb");
    }

    #[test]
    fn the_machinery_of_a_panic_is_none_of_the_author_s_functions() {
        for name in [
            "`core::panicking::panic_fmt`",
            "`rust_begin_unwind`",
            "`__rustc::rust_begin_unwind`",
            "`abort`",
            "function 7",
            "`rust_panic` (/rustc/5980/library/std/src/panicking.rs:886)",
        ] {
            assert!(is_machinery(name), "{name}");
        }
        for name in ["`legal::redact`", "`<legal::Plugin as Guest>::process`", "`rust_panic_free`"] {
            assert!(!is_machinery(name), "{name}");
        }
    }

    #[test]
    fn the_stack_is_caused_by_what_was_last_said() {
        let inside = Inside::new(vec!["`a`".into(), "`b` (b.rs:7)".into()], "one\ntwo\n".into()).unwrap();
        assert_eq!(inside.to_string(), "in `a`, called by `b` (b.rs:7)");
        let output = std::error::Error::source(&inside).unwrap();
        assert_eq!(output.to_string(), "its last output: one | two");
        assert_eq!(Inside::new(Vec::new(), " \n".into()), None);
    }

    #[test]
    fn advice_that_nobody_can_follow_is_left_out() {
        let said = "Traceback (most recent call last):\nKeyError: 'kelp'\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        let inside = Inside::new(Vec::new(), said.into()).unwrap();
        let want = "its last output: Traceback (most recent call last): | KeyError: 'kelp'";
        assert_eq!(inside.to_string(), want);
    }
}
