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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The words that stand for an image go into the text.
    pub alt: bool,
    /// Preformatted text stands between fences, and the text is called `text/markdown`; else
    /// it stands alone, and the text is called `text/plain`.
    pub fences: bool,
    /// Only the main content stays; else the whole body.
    pub main_content: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { alt: false, fences: true, main_content: true }
    }
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The first key that is unknown or has a value of another kind, and what would be allowed.
    pub fn from_config(config: impl IntoIterator<Item = (String, Value)>) -> Result<Self, String> {
        let mut options = Self::default();
        for (key, value) in config {
            let option = match key.as_str() {
                "alt" => &mut options.alt,
                "fences" => &mut options.fences,
                "main_content" => &mut options.main_content,
                _ => {
                    return Err(format!(
                        "there is no key `{key}`; there are: `alt`, `fences`, `main_content`"
                    ));
                }
            };
            let Value::Flag(flag) = value else {
                return Err(format!("`{key}` is `{value}`: it must be `true` or `false`"));
            };
            *option = flag;
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
    fn every_key_can_be_set() {
        check(
            &[
                ("alt", Value::Flag(true)),
                ("fences", Value::Flag(false)),
                ("main_content", Value::Flag(false)),
            ],
            Ok(Options { alt: true, fences: false, main_content: false }),
        );
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        check(&[("alt", Value::Text("yes".into()))], Err("`alt` is `\"yes\"`: it must be `true` or `false`"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        check(
            &[("alts", Value::Flag(true))],
            Err("there is no key `alts`; there are: `alt`, `fences`, `main_content`"),
        );
    }
}
