//! What a plugin may be granted, and what it is told that wants more.
//!
//! A sentence names what is wanted, and the line of configuration that grants it,
//! or that nothing does. All of them are said when a plugin is loaded.

/// Grants beside `log` and `text`, which every plugin has.
pub(super) const GRANTS: [&str; 1] = ["embed"];

/// WASI that is there because Python and JavaScript need it, with nothing in it.
const EMPTY_WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// Checks the `grants` of a plugin's table.
pub(super) fn check(grants: &[String]) -> Result<(), String> {
    let Some(grant) = grants.iter().find(|grant| !GRANTS.contains(&grant.as_str())) else { return Ok(()) };
    let why = match grant.to_ascii_lowercase().as_str() {
        "file" | "files" | "filesystem" | "fs" | "folder" | "folders" | "dir" | "dirs" => {
            "nothing grants files, because a plugin gets its texts from the gateway; take it out"
        }
        "http" | "net" | "network" | "socket" | "sockets" | "tcp" | "udp" | "dns" => {
            "nothing grants the network, because a plugin's answer may depend on its texts alone; take it out"
        }
        "env" | "environment" | "args" => {
            "nothing grants the environment; put what the plugin needs into `config` of its table"
        }
        "clock" | "clocks" | "time" | "random" => {
            "nothing grants clocks that move or numbers that differ, because the same text has to have the same answer; take it out"
        }
        "log" | "text" => "every plugin has that; take it out",
        "embedder" => "it is called `embed`",
        _ => "take it out",
    };
    Err(format!("there is no grant `{grant}`, only `{}`: {why}", GRANTS.join("`, `")))
}

/// Checks what a component imports. `may_embed` is whether the plugin `name` has that grant.
pub(super) fn check_imports(name: &str, imports: &[String], may_embed: bool) -> Result<(), String> {
    if !may_embed && let Some(import) = imports.iter().find(|import| is_ours(import, "embedder")) {
        return Err(format!(
            "it wants to have texts embedded (`{import}`), which it is not granted: add grants = [\"embed\"] to the [[plugin]] table of `{name}`, or `--grant embed` to `plugin check`"
        ));
    }
    match imports.iter().find(|import| !is_provided(import)) {
        Some(import) => Err(denied(import)),
        None => Ok(()),
    }
}

fn denied(import: &str) -> String {
    let Some((package, rest)) = import.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')) else {
        let why = if import.starts_with("embergate:plugin/") {
            "this gateway's contract has no such interface: build it with this gateway's `wit` folder"
        } else {
            "the gateway does not provide it, and nothing grants it: there are `log`, `text`, `embedder`, and WASI 0.2 without files and network"
        };
        return format!("it wants `{import}`: {why}");
    };
    if rest.contains("@0.3") {
        return format!("it wants `{import}` of WASI 0.3: build it for WASI 0.2 (wasm32-wasip2)");
    }
    let (what, instead) = match package {
        "http" | "tls" => ("the network", "; components made by jco build without it by `--disable http`"),
        "blobstore" | "filesystem" => ("files", ""),
        "keyvalue" | "sql" | "messaging" => ("a database", ""),
        "config" => ("a store of settings", "; what stands in `config` of its table reaches its `start`"),
        "logging" => ("this log", "; `embergate:plugin/log` is always there"),
        _ => return format!("it wants `{import}`, which the gateway does not provide: build it without"),
    };
    format!("it wants `{import}`, and nothing grants a plugin {what}: build it without{instead}")
}

fn is_provided(import: &str) -> bool {
    if let Some((package, rest)) = import.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')) {
        return EMPTY_WASI.contains(&package) && rest.contains("@0.2");
    }
    ["types", "log", "text", "embedder"].iter().any(|interface| is_ours(import, interface))
}

/// Returns whether `name` is this interface of the contract.
pub(super) fn is_ours(name: &str, interface: &str) -> bool {
    let rest = name.strip_prefix("embergate:plugin/").and_then(|rest| rest.strip_prefix(interface));
    rest.is_some_and(|rest| rest.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_grant(grant: &str, want: &str) {
        let why = check(&[grant.to_owned()]).unwrap_err();
        assert!(why.starts_with(&format!("there is no grant `{grant}`, only `embed`: {want}")), "{why}");
    }

    #[track_caller]
    fn check_import(import: &str, want: &str) {
        let why = check_imports("legal", &[import.to_owned()], false).unwrap_err();
        assert!(why.contains(import) && why.contains(want), "{why}");
    }

    #[test]
    fn embed_is_a_grant() {
        assert_eq!(check(&["embed".to_owned()]), Ok(()));
    }

    #[test]
    fn what_nothing_grants_is_told_by_name() {
        check_grant("files", "nothing grants files");
        check_grant("sockets", "nothing grants the network");
        check_grant("env", "nothing grants the environment");
        check_grant("clock", "nothing grants clocks that move");
        check_grant("text", "every plugin has that");
        check_grant("embedder", "it is called `embed`");
        check_grant("gpu", "take it out");
    }

    #[test]
    fn the_embedder_comes_with_the_line_that_grants_it() {
        let want = "add grants = [\"embed\"] to the [[plugin]] table of `legal`";
        check_import("embergate:plugin/embedder@0.1.0", want);
    }

    #[test]
    fn a_granted_embedder_passes() {
        let imports = ["embergate:plugin/embedder@0.1.0".to_owned()];
        assert_eq!(check_imports("legal", &imports, true), Ok(()));
    }

    #[test]
    fn an_empty_wasi_passes() {
        for import in ["wasi:filesystem/preopens@0.2.9", "wasi:sockets/tcp@0.2.0", "wasi:cli/exit@0.2.3"] {
            assert_eq!(check_imports("legal", &[import.to_owned()], false), Ok(()));
        }
    }

    #[test]
    fn imports_that_nothing_grants_are_told_by_name() {
        check_import("wasi:http/types@0.2.3", "nothing grants a plugin the network: build it without");
        check_import("wasi:keyvalue/store@0.2.0", "nothing grants a plugin a database");
        check_import("wasi:config/store@0.2.0", "`config` of its table");
        check_import("wasi:cli/run@0.3.0", "build it for WASI 0.2");
        check_import("acme:db/query@1.0.0", "the gateway does not provide it");
        check_import("embergate:plugin/kv@0.1.7", "contract has no such interface");
        check_import("env", "the gateway does not provide it");
    }
}
