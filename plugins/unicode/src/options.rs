//! The plugin's configuration.

/// A configuration value, as it comes from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Flag(bool),
    Texts(Vec<String>),
}

/// What the plugin may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Compatibility forms as well: `ﬁ` becomes `fi`, `①` becomes `1`, full-width letters become
    /// plain. Off by default, because it also makes `2` of `²`.
    pub nfkc: bool,
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The first key that is unknown or has a value of another kind, and what would be allowed.
    pub fn from_config(config: impl IntoIterator<Item = (String, Value)>) -> Result<Self, String> {
        let mut options = Self::default();
        for (key, value) in config {
            match (key.as_str(), &value) {
                ("nfkc", Value::Flag(flag)) => options.nfkc = *flag,
                ("nfkc", _) => return Err(format!("`nfkc` is `{value}`: it must be `true` or `false`")),
                _ => return Err(format!("there is no key `{key}`; there is: `nfkc`")),
            }
        }
        Ok(options)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Decimal(decimal) => write!(f, "{decimal:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Texts(texts) => write!(f, "{texts:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &[(&str, Value)], want: Result<Options, &str>) {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        assert_eq!(Options::from_config(config), want.map_err(str::to_owned));
    }

    #[test]
    fn no_configuration_means_composed_forms_only() {
        check(&[], Ok(Options { nfkc: false }));
    }

    #[test]
    fn compatibility_forms_can_be_asked_for() {
        check(&[("nfkc", Value::Flag(true))], Ok(Options { nfkc: true }));
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        check(&[("nfkc", Value::Integer(1))], Err("`nfkc` is `1`: it must be `true` or `false`"));
        check(
            &[("nfkc", Value::Text("yes".into()))],
            Err("`nfkc` is `\"yes\"`: it must be `true` or `false`"),
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        check(&[("nfc", Value::Flag(true))], Err("there is no key `nfc`; there is: `nfkc`"));
    }
}
