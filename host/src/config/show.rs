//! The effective configuration as TOML, explained by the full example's comments.

use toml::{Table, Value};

use super::{Config, keys};

pub(super) fn toml(config: &Config) -> String {
    // Every value of the configuration has a form in TOML: the round trip is tested.
    let table = Table::try_from(config).unwrap_or_default();
    let mut page = Page { text: String::new() };
    page.tables(&table, "");
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn tables(&mut self, parent: &Table, path: &str) {
        for name in names_in_order(parent, path) {
            let inner = match path {
                "" => name.clone(),
                _ => format!("{path}.{name}"),
            };
            match &parent[&name] {
                Value::Table(table) if is_section(&inner) => self.table(table, &inner, &format!("[{inner}]")),
                Value::Array(tables) if is_section(&inner) => {
                    for table in tables.iter().filter_map(Value::as_table) {
                        self.table(table, &inner, &format!("[[{inner}]]"));
                    }
                }
                _ => {}
            }
        }
    }

    fn table(&mut self, table: &Table, path: &str, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.comment(path);
        self.line(header);
        for name in names_in_order(table, path) {
            let inner = format!("{path}.{name}");
            if !is_section(&inner) {
                self.comment(&inner);
                self.line(&format!("{name} = {}", table[&name]));
            }
        }
        self.unset(table, path);
        self.tables(table, path);
    }

    /// Keys that have no value and no default, behind a comment sign.
    fn unset(&mut self, table: &Table, path: &str) {
        for (name, key) in keys::within(path).filter(|(name, _)| !table.contains_key(*name)) {
            if let Some(value) = &key.value {
                self.comment(&key.path);
                self.line(&format!("# {name} = {value}"));
            }
        }
    }

    fn comment(&mut self, path: &str) {
        for line in keys::find(path).map(|key| key.comment.as_slice()).unwrap_or_default() {
            self.line(&format!("# {line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// The example's tables have a header; everything else is a value, a plugin's own configuration too.
fn is_section(path: &str) -> bool {
    keys::find(path).is_some_and(|key| key.value.is_none())
}

/// The names of `table`, as the example orders them; what it does not have comes last.
fn names_in_order(table: &Table, path: &str) -> Vec<String> {
    // A plugin's own limits stand as those of all plugins do.
    let path = if path == "plugin.limits" { "plugins.limits" } else { path };
    let known: Vec<&str> = keys::within(path).map(|(name, _)| name).collect();
    let mut names: Vec<String> = table.keys().cloned().collect();
    names.sort_by_key(|name| known.iter().position(|known| known == name).unwrap_or(known.len()));
    names
}

#[cfg(test)]
mod tests {
    use super::super::{keys, read};
    use super::*;

    #[track_caller]
    fn check_round_trip(text: &str) {
        let config = read(text.as_bytes()).unwrap();
        let shown = config.to_toml();
        let again = read(shown.as_bytes()).unwrap();
        assert_eq!(Table::try_from(&again).unwrap(), Table::try_from(&config).unwrap(), "{shown}");
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        check_round_trip("");
        check_round_trip(keys::EXAMPLE);
        check_round_trip("[cache]\nmax_bytes = \"1000001B\"\ntime_to_live = \"90m\"");
        check_round_trip(
            "[[plugin]]\nname = \"p\"\nconfig = { a = [1, { b = 'c\"d' }], text = \"two\\nlines\" }\n[plugin.limits]\ntime = \"5s\"",
        );
        check_round_trip(
            "[[upstream]]\nname = \"a\"\nkind = \"embedded\"\n[[model]]\nname = \"m\"\nupstreams = [\"a\"]\n[model.prompts]\nquery = \"Instruct: x\\nQuery:\"",
        );
    }

    #[test]
    fn the_limits_of_a_plugin_are_shown_with_those_of_all() {
        let text =
            "[plugins.limits]\nmemory = \"1MiB\"\n[[plugin]]\nname = \"p\"\n[plugin.limits]\ntime = \"7s\"";
        let shown = read(text.as_bytes()).unwrap().to_toml();
        let (_, limits) = shown.split_once("[plugin.limits]\n").unwrap();
        let keys = ["time = \"7s\"", "time_per_mib = \"2s\"", "memory = \"1MiB\""];
        let places = keys.map(|key| limits.find(key));
        assert!(places.is_sorted() && places[0].is_some(), "{limits}");
    }

    #[test]
    fn a_key_is_shown_with_the_first_digits_of_its_hash() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!("[[key]]\nname = \"a\"\nsha256 = \"{hash}\"\nrequests_per_minute = 5");
        let shown = read(text.as_bytes()).unwrap().to_toml();
        let (_, key) = shown.split_once("[[key]]\n").unwrap();
        assert!(key.contains("sha256 = \"e3b0c442…\"\n") && !key.contains(&hash[8..]), "{key}");
        assert!(key.contains("rights = [\"embed\"]\n") && key.contains("requests_per_minute = 5\n"), "{key}");
        assert!(key.contains("# texts_per_minute = "), "{key}");
    }

    #[test]
    fn every_value_stands_below_its_comment() {
        let shown = read(b"").unwrap().to_toml();
        let (_, server) = shown.split_once("[server]\n").unwrap();
        assert!(
            server.starts_with("# Where the HTTP APIs listen.\nlisten = \"127.0.0.1:8642\"\n"),
            "{server}"
        );
        assert!(shown.contains("# Qdrant's gRPC address; only for kind = \"qdrant\".\n# url = "), "{shown}");
    }

    #[test]
    fn the_example_carries_the_defaults() {
        let example = Table::try_from(read(keys::EXAMPLE.as_bytes()).unwrap()).unwrap();
        let defaults = Table::try_from(read(b"").unwrap()).unwrap();
        for (name, value) in defaults.iter().filter(|(_, value)| value.is_table()) {
            assert_eq!(&example[name], value, "[{name}]");
        }
        assert_eq!(example["upstream"], defaults["upstream"]);
        assert_eq!(example["model"], defaults["model"]);
    }
}
