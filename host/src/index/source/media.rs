//! What kind of text a file holds: by its whole name, else by its extension. What is not in the
//! table is plain text until its bytes say otherwise.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

pub const PLAIN: &str = "text/plain";
pub const HTML: &str = "text/html";
pub const CSV: &str = "text/csv";
pub const TSV: &str = "text/tab-separated-values";
pub const JSONL: &str = "application/x-ndjson";

/// Characters of a line of code that people wrote, at most.
const MAX_LINE: usize = 2_000;
/// Types of which programs write files with all of it on one line.
const MINIFIED: &[&str] = &["application/json", "text/css", "text/javascript", "text/x-typescript"];

/// Media types with the extensions that stand for them, and with whole names of files.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    (PLAIN, &["txt", "text", "log"], &["LICENSE", "README", "NOTICE", "AUTHORS", "CHANGELOG"]),
    ("text/markdown", &["md", "markdown", "mdown", "mkd", "mdx"], &[]),
    (HTML, &["html", "htm", "xhtml", "xht"], &[]),
    ("text/x-rst", &["rst", "rest"], &[]),
    ("text/asciidoc", &["adoc", "asciidoc"], &[]),
    ("text/x-org", &["org"], &[]),
    ("text/x-tex", &["tex", "latex", "bib"], &[]),
    ("text/x-diff", &["diff", "patch"], &[]),
    (CSV, &["csv"], &[]),
    (TSV, &["tsv", "tab"], &[]),
    (JSONL, &["jsonl", "ndjson"], &[]),
    ("application/json", &["json", "geojson", "webmanifest", "ipynb"], &[]),
    ("application/xml", &["xml", "xsd", "xsl", "xslt", "rss", "atom", "svg"], &[]),
    ("application/toml", &["toml"], &["Cargo.lock"]),
    ("application/yaml", &["yaml", "yml"], &[]),
    ("text/x-ini", &["ini", "cfg", "conf", "properties"], &[]),
    ("text/css", &["css"], &[]),
    ("text/javascript", &["js", "mjs", "cjs", "jsx"], &[]),
    ("text/x-assembly", &["asm", "s"], &[]),
    ("text/x-batch", &["bat", "cmd"], &[]),
    ("text/x-c", &["c", "h"], &[]),
    ("text/x-c++", &["cc", "cpp", "cxx", "hh", "hpp", "hxx"], &[]),
    ("text/x-clojure", &["clj", "cljs", "cljc", "edn"], &[]),
    ("text/x-cmake", &["cmake"], &["CMakeLists.txt"]),
    ("text/x-csharp", &["cs"], &[]),
    ("text/x-dart", &["dart"], &[]),
    ("text/x-dockerfile", &["dockerfile"], &["Dockerfile", "Containerfile"]),
    ("text/x-elixir", &["ex", "exs"], &[]),
    ("text/x-erlang", &["erl", "hrl"], &[]),
    ("text/x-fsharp", &["fs", "fsx"], &[]),
    ("text/x-go", &["go"], &[]),
    ("text/x-graphql", &["graphql", "gql"], &[]),
    ("text/x-groovy", &["groovy", "gradle"], &["Jenkinsfile"]),
    ("text/x-haskell", &["hs"], &[]),
    ("text/x-java", &["java"], &[]),
    ("text/x-julia", &["jl"], &[]),
    ("text/x-kotlin", &["kt", "kts"], &[]),
    ("text/x-less", &["less"], &[]),
    ("text/x-lisp", &["lisp", "el", "scm"], &[]),
    ("text/x-lua", &["lua"], &[]),
    ("text/x-makefile", &["mk", "mak"], &["Makefile", "makefile", "GNUmakefile"]),
    ("text/x-nix", &["nix"], &[]),
    ("text/x-objective-c", &["m", "mm"], &[]),
    ("text/x-ocaml", &["ml", "mli"], &[]),
    ("text/x-perl", &["pl", "pm"], &[]),
    ("text/x-php", &["php"], &[]),
    ("text/x-powershell", &["ps1", "psm1"], &[]),
    ("text/x-protobuf", &["proto"], &[]),
    ("text/x-python", &["py", "pyi"], &[]),
    ("text/x-r", &["r"], &[]),
    ("text/x-ruby", &["rb", "rake", "gemspec"], &["Gemfile", "Rakefile", "Vagrantfile"]),
    ("text/x-rust", &["rs"], &[]),
    ("text/x-scala", &["scala", "sc"], &[]),
    ("text/x-scss", &["scss", "sass"], &[]),
    ("text/x-shellscript", &["sh", "bash", "zsh", "fish", "ksh"], &[]),
    ("text/x-solidity", &["sol"], &[]),
    ("text/x-sql", &["sql"], &[]),
    ("text/x-svelte", &["svelte"], &[]),
    ("text/x-swift", &["swift"], &[]),
    ("text/x-terraform", &["tf", "tfvars", "hcl"], &[]),
    ("text/x-typescript", &["ts", "tsx", "mts", "cts"], &[]),
    ("text/x-vue", &["vue"], &[]),
    ("text/x-wit", &["wit"], &[]),
    ("text/x-zig", &["zig"], &[]),
];

/// Other names of the types in the table, as servers write them.
const ALIASES: &[(&str, &str)] = &[
    ("application/javascript", "text/javascript"),
    ("application/jsonl", JSONL),
    ("application/jsonlines", JSONL),
    ("application/ndjson", JSONL),
    ("application/x-javascript", "text/javascript"),
    ("application/x-sh", "text/x-shellscript"),
    ("application/x-yaml", "application/yaml"),
    ("application/xhtml+xml", HTML),
    ("text/json", "application/json"),
    ("text/tsv", TSV),
    ("text/x-markdown", "text/markdown"),
    ("text/xml", "application/xml"),
    ("text/yaml", "application/yaml"),
];

static BY_EXTENSION: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let rows = TABLE.iter();
    rows.flat_map(|(media_type, extensions, _)| extensions.iter().map(|name| (*name, *media_type))).collect()
});
static BY_NAME: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    TABLE.iter().flat_map(|(media_type, _, names)| names.iter().map(|name| (*name, *media_type))).collect()
});

/// All that a document can be of.
pub fn all() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(media_type, ..)| *media_type)
}

/// Of a file, by its name.
pub fn of_path(path: &Path) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(media_type) = BY_NAME.get(name) {
        return media_type;
    }
    let Some((_, extension)) = name.rsplit_once('.') else { return PLAIN };
    match BY_EXTENSION.get(extension) {
        Some(media_type) => media_type,
        None => BY_EXTENSION.get(extension.to_ascii_lowercase().as_str()).unwrap_or(&PLAIN),
    }
}

/// The type in the table that somebody wrote, in any case and with parameters behind it.
pub fn known(written: &str) -> Option<&'static str> {
    let essence = written.split(';').next().unwrap_or_default().trim();
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(essence));
    let essence = alias.map_or(essence, |(_, media_type)| media_type);
    all().find(|media_type| media_type.eq_ignore_ascii_case(essence))
}

/// The first line of code that no person wrote, counted from 1.
pub fn minified_line(media_type: &str, text: &str) -> Option<usize> {
    if text.len() <= MAX_LINE || !MINIFIED.contains(&media_type) {
        return None;
    }
    let is_long = |line: &str| MAX_LINE < line.len() && MAX_LINE < line.chars().count();
    text.lines().position(is_long).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, want: &str) {
        assert_eq!(of_path(Path::new(path)), want);
    }

    #[test]
    fn the_extension_decides_in_any_case() {
        check("/a/A.MD", "text/markdown");
        check("/a/a.xhtml", "text/html");
        check("/a/lib.rs", "text/x-rust");
        check("/a/a.tar.Csv", "text/csv");
    }

    #[test]
    fn a_whole_name_decides_before_it() {
        check("/a/Makefile", "text/x-makefile");
        check("/a/CMakeLists.txt", "text/x-cmake");
        check("/a/Dockerfile", "text/x-dockerfile");
    }

    #[test]
    fn what_is_not_in_the_table_is_plain_text() {
        check("/a/COPYING", PLAIN);
        check("/a/b.unheard", PLAIN);
        check("/a.md/b", PLAIN);
    }

    #[test]
    fn each_extension_and_name_stands_for_one_type() {
        let extensions: usize = TABLE.iter().map(|(_, extensions, _)| extensions.len()).sum();
        let names: usize = TABLE.iter().map(|(.., names)| names.len()).sum();
        assert_eq!((BY_EXTENSION.len(), BY_NAME.len()), (extensions, names));
        assert_eq!(all().count(), all().collect::<std::collections::BTreeSet<_>>().len());
    }

    #[test]
    fn the_documentation_has_every_type_with_its_names() {
        let page = include_str!("../../../../docs/indexing.md");
        for (media_type, extensions, names) in TABLE {
            assert!(page.contains(&format!("`{media_type}`")), "{media_type}");
            let is_plain = *media_type == PLAIN;
            for extension in extensions.iter().filter(|_| !is_plain) {
                assert!(page.contains(&format!("`.{extension}`")), "{extension}");
            }
            for name in names.iter().filter(|_| !is_plain) {
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
        }
    }

    #[test]
    fn what_a_server_writes_is_found() {
        assert_eq!(known("Text/HTML; charset=utf-8"), Some(HTML));
        assert_eq!(known("application/xhtml+xml"), Some(HTML));
        assert_eq!(known("image/png"), None);
    }

    #[test]
    fn a_long_line_makes_code_minified_and_prose_not() {
        let text = format!("a\n{}\n", "x".repeat(2_001));
        assert_eq!(minified_line("text/javascript", &text), Some(2));
        assert_eq!(minified_line("text/plain", &text), None);
        assert_eq!(minified_line("text/css", &"ğ".repeat(2_000)), None);
    }
}
