//! Walks of folders, links and files of records.

use super::*;
use crate::index::Config;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// A root with options; its path is relative to a folder.
fn root(folder: &tempfile::TempDir, path: &str, options: Options) -> Root {
    let path = folder.path().join(path).to_str().unwrap().to_owned();
    Root::Path { path, options, linked: BTreeSet::new() }
}

/// What a walk says, with paths relative to the folder.
fn told(folder: &tempfile::TempDir, sources: &Sources) -> Vec<String> {
    let base = format!("{}/", folder.path().canonicalize().unwrap().display());
    let mut told = Vec::new();
    sources.walk(&mut |item| {
        told.push(match item {
            Item::Document(found) => found.source,
            Item::Skipped { source, reason } => format!("skipped {source}: {reason}"),
            Item::Failed { source, reason } => format!("failed {source}: {reason}"),
        });
        ControlFlow::Continue(())
    });
    told.into_iter().map(|line| line.replace(&base, "")).collect()
}

fn sources(roots: Vec<Root>) -> Sources {
    Sources::new(roots, &Config::default()).unwrap()
}

#[track_caller]
fn check_with(files: &[(&str, &str)], options: Options, want: &[&str]) {
    let folder = tree(files);
    assert_eq!(told(&folder, &sources(vec![root(&folder, "", options)])), want);
}

#[track_caller]
fn check(files: &[(&str, &str)], want: &[&str]) {
    check_with(files, Options::default(), want);
}

fn globs(include: &[&str], exclude: &[&str]) -> Options {
    let list = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    Options { include: list(include), exclude: list(exclude), ..Options::default() }
}

#[test]
fn files_come_in_the_order_of_their_names() {
    check(&[("b.md", ""), ("a/z.md", ""), ("a/B.md", "")], &["a/B.md", "a/z.md", "b.md"]);
}

#[test]
fn what_git_ignores_is_left_out_without_a_repository() {
    let files = [(".gitignore", "draft.md\n"), ("draft.md", ""), ("sub/draft.md", ""), ("a.md", "")];
    check(&files, &["a.md"]);
    check_with(
        &files,
        Options { no_ignore: true, ..Options::default() },
        &["a.md", "draft.md", "sub/draft.md"],
    );
}

#[test]
fn hidden_files_and_folders_are_left_out() {
    let files = [(".secret.md", ""), (".git/config", ""), ("a.md", "")];
    check(&files, &["a.md"]);
    let options = Options { hidden: true, ..Options::default() };
    check_with(&files, options, &[".git/config", ".secret.md", "a.md"]);
}

#[test]
fn globs_choose_files_as_gitignore_has_them() {
    let files = [("a.md", ""), ("a.txt", ""), ("old/b.md", ""), ("docs/old/c.md", ""), ("docs/d.rst", "")];
    check_with(&files, globs(&["*.md"], &[]), &["a.md", "docs/old/c.md", "old/b.md"]);
    check_with(&files, globs(&["docs/"], &[]), &["docs/d.rst", "docs/old/c.md"]);
    check_with(&files, globs(&[], &["old/"]), &["a.md", "a.txt", "docs/d.rst"]);
    check_with(&files, globs(&["*.md", "*.rst"], &["/old"]), &["a.md", "docs/d.rst", "docs/old/c.md"]);
    check_with(&files, globs(&["*", "!*.md"], &[]), &["a.txt", "docs/d.rst"]);
}

#[test]
fn a_glob_takes_nothing_that_git_leaves_out() {
    check_with(&[(".gitignore", "b.md"), ("a.md", ""), ("b.md", "")], globs(&["*.md"], &[]), &["a.md"]);
}

#[test]
fn a_path_that_is_not_there_is_an_error_that_names_it() {
    let error = Sources::new(vec![Root::path("/no/such/place")], &Config::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/no/such/place`");
}

#[test]
fn a_glob_that_is_none_is_an_error_that_names_it() {
    let folder = tree(&[]);
    let error = Sources::new(vec![root(&folder, "", globs(&["a{b"], &[]))], &Config::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("`a{b` is no pattern of files: "), "{error}");
}

#[test]
fn paths_that_overlap_find_each_file_once() {
    let folder =
        tree(&[(".gitignore", "sub/draft.md"), ("sub/a.md", ""), ("sub/draft.md", ""), ("z.md", "")]);
    let paths = ["", "sub", "sub/a.md", "sub/draft.md", ""];
    let roots = paths.map(|path| root(&folder, path, Options::default()));
    // What is named is wanted, whatever git says.
    assert_eq!(told(&folder, &sources(roots.into())), ["z.md", "sub/a.md", "sub/draft.md"]);
}

#[test]
fn the_innermost_root_s_options_count() {
    let folder = tree(&[("a.md", ""), ("sub/a.md", ""), ("sub/b.txt", "")]);
    let roots = vec![root(&folder, "", Options::default()), root(&folder, "sub", globs(&["*.txt"], &[]))];
    assert_eq!(told(&folder, &sources(roots)), ["a.md", "sub/b.txt"]);
}

#[test]
fn a_walk_stops_when_it_is_told_to() {
    let folder = tree(&[("a.md", ""), ("b.md", "")]);
    let mut n_given = 0;
    sources(vec![root(&folder, "", Options::default())]).walk(&mut |_| {
        n_given += 1;
        ControlFlow::Break(())
    });
    assert_eq!(n_given, 1);
}

#[test]
fn documents_and_bytes_are_counted_ahead() {
    let folder = tree(&[("a.md", "12"), ("b.txt", "345"), ("c.jsonl", "{\"id\":1}\n{\"id\":2}")]);
    let sources = sources(vec![root(&folder, "", Options::default())]);
    let counted = Counted { n_documents: 2, n_bytes: 22 };
    assert_eq!(sources.count(&AtomicBool::new(false)), counted);
    assert_eq!(sources.count(&AtomicBool::new(true)).n_documents, 1);
}

#[test]
fn what_was_piped_in_is_one_document() {
    let standard = |bytes: Option<&'static [u8]>| Root::Standard {
        name: "notes".into(),
        media_type: "Text/Markdown".into(),
        bytes: bytes.map(bytes::Bytes::from_static),
    };
    let folder = tree(&[]);
    let there = sources(vec![standard(Some(b"kelp"))]);
    assert_eq!(told(&folder, &there), ["stdin:notes"]);
    assert!(there.contains("stdin:notes") && !there.contains("stdin:other"));
    // Kept and read again, it has no bytes, and nothing says that it vanished.
    let kept = serde_json::to_string(&there.roots()).unwrap();
    let gone = sources(serde_json::from_str(&kept).unwrap());
    assert_eq!(told(&folder, &gone), Vec::<String>::new());
    assert!(!gone.contains("stdin:notes") && !gone.roots()[0].is_repeatable());
}

#[test]
fn names_and_types_of_what_is_piped_in_are_checked() {
    let error = |name: &str, media_type: &str| {
        let root = Root::Standard { name: name.into(), media_type: media_type.into(), bytes: None };
        Sources::new(vec![root], &Config::default()).unwrap_err().to_string()
    };
    assert_eq!(error("", "text/plain"), "`` cannot name what comes from standard input: it is empty");
    assert!(error("a\nb", "text/plain").ends_with("there is a control character in it"));
    assert!(
        error("a", "image/png").starts_with("there is no media type `image/png`; there are: text/plain, ")
    );
}

#[test]
fn only_pages_of_allowed_hosts_are_sources() {
    let config = Config { allowed_hosts: vec!["docs.example.org".parse().unwrap()], ..Config::default() };
    let new = |url: &str| Sources::new(vec![Root::Url { url: url.into() }], &config);
    let there = new("https://Docs.Example.org/a#part").unwrap();
    assert_eq!(there.roots(), [Root::Url { url: "https://docs.example.org/a".into() }]);
    assert_eq!(
        new("https://example.org:8443/a").unwrap_err().to_string(),
        "`https://example.org:8443/a` may not be fetched: add `example.org:8443` to `index.allowed_hosts`"
    );
    let password = new("https://me:secret@docs.example.org/").unwrap_err().to_string();
    assert!(password.ends_with("it has a user or a password in it"), "{password}");
}

#[test]
fn roots_are_kept_as_json() {
    let folder = tree(&[("a.md", "")]);
    let options = Options { follow_links: true, ..globs(&["*.md"], &["old"]) };
    let roots = sources(vec![root(&folder, "", options)]).roots();
    let kept = serde_json::to_string(&roots).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Root>>(&kept).unwrap(), roots);
}

#[test]
fn a_root_does_not_contain_its_neighbour() {
    assert!(is_at("/a/docs/x.md", "/a/docs") && is_at("/a/docs", "/a/docs"));
    assert!(!is_at("/a/docs2/x.md", "/a/docs"));
    assert!(is_at("/x.md", "/"));
    assert!(is_at("/a/x.csv#1", "/a/x.csv") && !is_at("/a/x.md.bak", "/a/x.md"));
}

#[test]
fn nothing_has_vanished_in_a_place_that_could_not_be_looked_at() {
    let folder = tree(&[("a.md", "")]);
    let sources = sources(vec![root(&folder, "", Options::default())]);
    let at = |name: &str| folder.path().canonicalize().unwrap().join(name).display().to_string();
    ["locked", "b.csv", "c.csv#L3"].iter().for_each(|name| sources.mark_unseen(&at(name)));
    for unseen in ["locked", "locked/b.md", "locked/deep/c.csv#1", "b.csv", "b.csv#9", "c.csv#L3"] {
        assert!(!sources.contains(&at(unseen)), "{unseen}");
    }
    for vanished in ["lock.md", "lockedup.md", "b.csv.md", "c.csv#L4", "c.csv"] {
        assert!(sources.contains(&at(vanished)), "{vanished}");
    }
    sources.mark_unseen("/");
    assert!(!sources.contains(&at("lock.md")));
}

#[test]
fn a_file_that_is_named_like_a_record_of_another_fails() {
    let files = [("a.jsonl", "{\"id\":\"b\",\"text\":\"\"}"), ("a.jsonl#b", ""), ("c#d.md", "")];
    let reason = "its name reads like that of a record in another file: rename it";
    check(&files, &["a.jsonl#b", &format!("failed a.jsonl#b: {reason}"), "c#d.md"]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn following() -> Options {
        Options { follow_links: true, ..Options::default() }
    }

    #[test]
    fn sockets_are_skipped_and_links_not_followed() {
        let folder = tree(&[("real.md", "")]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.sock")).unwrap();
        symlink(folder.path().join("real.md"), folder.path().join("link.md")).unwrap();
        let sources = sources(vec![root(&folder, "", Options::default())]);
        assert_eq!(told(&folder, &sources), ["real.md", "skipped s.sock: it is a socket, not a file"]);
    }

    #[test]
    fn a_name_that_is_not_utf8_fails_alone() {
        let folder = tree(&[("a.md", "")]);
        let name = |bytes: &'static [u8]| folder.path().join(std::ffi::OsStr::from_bytes(bytes));
        std::fs::write(name(b"\xFF.md"), "x").unwrap();
        std::fs::create_dir(name(b"z\xFF")).unwrap();
        std::fs::write(name(b"z\xFF/in.md"), "x").unwrap();
        let sources = sources(vec![root(&folder, "", Options::default())]);
        let reason = "its path is not UTF-8: rename it";
        let want =
            ["a.md".into(), format!("failed z\u{FFFD}: {reason}"), format!("failed \u{FFFD}.md: {reason}")];
        assert_eq!(told(&folder, &sources), want);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_fails_alone() {
        let folder = tree(&[("a.md", ""), ("locked/b.md", ""), ("lock.md", "")]);
        let locked = folder.path().join("locked");
        let lock = |mode| std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(mode)).unwrap();
        let sources = sources(vec![root(&folder, "", Options::default())]);
        lock(0o000);
        let may_read_all = std::fs::read_dir(&locked).is_ok();
        let told = told(&folder, &sources);
        lock(0o755);
        // Whoever runs as root may list any folder.
        let want = if may_read_all { "locked/b.md" } else { "failed locked: " };
        assert!(told.len() == 3 && told.iter().any(|line| line.starts_with(want)), "{told:?}");
    }

    #[test]
    fn links_are_followed_once_and_lead_to_the_place_itself() {
        let folder = tree(&[("in/a.md", ""), ("out/b.md", ""), ("out/deep/c.md", ""), ("one.md", "")]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("out"), at("in/first")).unwrap();
        symlink(at("out"), at("in/second")).unwrap();
        symlink(at("out/deep"), at("in/third")).unwrap();
        symlink(at("one.md"), at("in/zero.md")).unwrap();
        symlink(at("in/a.md"), at("in/b.md")).unwrap();
        let sources = sources(vec![root(&folder, "in", following())]);
        assert_eq!(told(&folder, &sources), ["in/a.md", "one.md", "out/b.md", "out/deep/c.md"]);
        let real = |name: &str| at(name).canonicalize().unwrap().display().to_string();
        assert!(sources.contains(&real("out/b.md")) && sources.contains(&real("one.md")));
        // Where links led once is kept: what they led to has vanished when they are gone.
        std::fs::remove_file(at("in/first")).unwrap();
        std::fs::remove_file(at("in/second")).unwrap();
        std::fs::remove_file(at("in/third")).unwrap();
        let later = self::sources(sources.roots());
        assert_eq!(told(&folder, &later), ["in/a.md", "one.md"]);
        assert!(later.contains(&real("out/b.md")) && !later.contains(&real("in/a.md").replace("in/", "on/")));
    }

    #[test]
    fn loops_of_links_are_refused() {
        let folder = tree(&[("in/a.md", ""), ("out/b.md", "")]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("in"), at("in/loop")).unwrap();
        symlink(at("in/self"), at("in/self")).unwrap();
        symlink(at("nowhere"), at("in/torn")).unwrap();
        symlink(at("out"), at("in/z")).unwrap();
        symlink(at("in"), at("out/back")).unwrap();
        let told = told(&folder, &sources(vec![root(&folder, "in", following())]));
        assert_eq!(told[..2], ["in/a.md", "skipped in/loop: it is a link to a folder that it is in"]);
        assert!(told[2].starts_with("skipped in/self: it is a link that leads nowhere: "), "{told:?}");
        assert!(told[3].starts_with("skipped in/torn: it is a link that leads nowhere: "), "{told:?}");
        assert_eq!(told[4..], ["out/b.md"]);
    }
}
