//! A plugin's configuration, from its table in the file to its `start`.

use wasmtime::Store;

use super::bindings::embergate::plugin::types::{self, Value};
use super::bindings::exports::embergate::plugin::lifecycle;
use super::state::State;

/// Checked values by key, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    values: Vec<(String, Setting)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Setting {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Flag(bool),
    Texts(Vec<String>),
}

impl Settings {
    /// # Errors
    /// Names the key whose value no plugin can be given.
    pub(super) fn new(table: &toml::Table) -> Result<Self, String> {
        let setting = |(key, value): (&String, &toml::Value)| match Setting::new(value) {
            Some(setting) => Ok((key.clone(), setting)),
            None => Err(format!(
                "`{key}` in its configuration is a {}: a plugin takes texts, numbers, true or false, and lists of texts",
                if value.is_array() { "list of other things than texts" } else { value.type_str() }
            )),
        };
        let mut values = table.iter().map(setting).collect::<Result<Vec<_>, _>>()?;
        values.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { values })
    }

    /// Adds all that there is to `hasher`.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(format!("{:?}", self.values).as_bytes());
    }

    /// Calls `start` with the values.
    pub(super) async fn start(
        &self,
        guest: &lifecycle::Guest,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<lifecycle::Info, types::Error>> {
        let lists: Vec<Vec<&str>> = self.values.iter().map(|(_, setting)| setting.texts()).collect();
        let pairs = self.values.iter().zip(&lists);
        let config: Vec<_> =
            pairs.map(|((key, setting), list)| (key.as_str(), setting.value(list))).collect();
        guest.call_start(store, &config).await
    }
}

impl Setting {
    fn new(value: &toml::Value) -> Option<Self> {
        Some(match value {
            toml::Value::String(text) => Self::Text(text.clone()),
            toml::Value::Integer(number) => Self::Integer(*number),
            toml::Value::Float(number) => Self::Decimal(*number),
            toml::Value::Boolean(flag) => Self::Flag(*flag),
            toml::Value::Datetime(time) => Self::Text(time.to_string()),
            toml::Value::Array(list) => {
                Self::Texts(list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()?)
            }
            toml::Value::Table(_) => return None,
        })
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Texts(texts) => texts.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn value<'v>(&'v self, texts: &'v [&'v str]) -> Value<'v> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Integer(number) => Value::Integer(*number),
            Self::Decimal(number) => Value::Decimal(*number),
            Self::Flag(flag) => Value::Flag(*flag),
            Self::Texts(_) => Value::Texts(texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, want: Result<usize, &str>) {
        let got = Settings::new(&table.parse().unwrap()).map(|settings| settings.values.len());
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn texts_numbers_flags_and_lists_pass() {
        check("a = 'x'\nb = 1\nc = 1.5\nd = true\ne = ['x', 'y']\nf = 2026-01-01", Ok(6));
    }

    #[test]
    fn a_table_is_named() {
        let why = "`a` in its configuration is a table: a plugin takes texts, numbers, true or false, and lists of texts";
        check("[a]\nb = 1", Err(why));
    }

    #[test]
    fn a_list_of_numbers_is_named() {
        let why = "`a` in its configuration is a list of other things than texts: a plugin takes texts, numbers, true or false, and lists of texts";
        check("a = [1]", Err(why));
    }
}
