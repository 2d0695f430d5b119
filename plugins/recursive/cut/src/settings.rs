//! Reads a plugin's configuration, and says in one line what is wrong with it.

use std::fmt;

/// A configuration value, as the host hands it over.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Flag(bool),
    Texts(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Decimal(n) => write!(f, "{n}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Texts(texts) => write!(f, "{texts:?}"),
        }
    }
}

/// A limit that leaves the tokens of a chunk to the caller, who always has one.
pub const NO_LIMIT: u32 = u32::MAX;

/// `value` as a number of tokens for a chunk.
///
/// # Errors
/// Names the key, the value and the range.
pub fn tokens(key: &str, value: &Value) -> Result<u32, String> {
    match value {
        Value::Integer(n) => u32::try_from(*n).ok().filter(|&n| n > 0),
        _ => None,
    }
    .ok_or_else(|| format!("`{key}` is `{value}`: it must be an integer from 1 to {}", u32::MAX))
}

/// `value` as a share of a whole, from 0 to `most`.
///
/// # Errors
/// Names the key, the value and the range.
pub fn share(key: &str, value: &Value, most: f64) -> Result<f64, String> {
    match value {
        Value::Decimal(share) => Some(*share),
        Value::Integer(0) => Some(0.0),
        _ => None,
    }
    .filter(|share| (0.0..=most).contains(share))
    .ok_or_else(|| format!("`{key}` is `{value}`: it must be a number from 0.0 to {most:?}"))
}

/// `value` as yes or no.
///
/// # Errors
/// Names the key and the value.
pub fn flag(key: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Flag(flag) => Ok(*flag),
        _ => Err(format!("`{key}` is `{value}`: it must be `true` or `false`")),
    }
}

/// The message for a key that a plugin does not have.
pub fn unknown(key: &str, known: &str) -> String {
    format!("there is no key `{key}`; there are: {known}")
}
