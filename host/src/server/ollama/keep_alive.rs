//! Ollama's `keep_alive`: seconds, or a duration as Go writes it. Checked only,
//! because the gateway keeps models as its own configuration says.

use serde_json::Value;

use crate::server::error::ApiError;

/// Returns whether there is one.
///
/// # Errors
/// In the words of Ollama, when it is neither a number nor a duration.
pub(super) fn check(value: &Value) -> Result<bool, ApiError> {
    let wrong = |message: String| Err(ApiError::invalid("keep_alive", message));
    match value {
        Value::Null => Ok(false),
        Value::Number(_) => Ok(true),
        Value::String(text) if is_go_duration(text) => Ok(true),
        Value::String(_) => {
            wrong("`keep_alive` is a duration such as `5m` or `1h30m`, or seconds".to_owned())
        }
        Value::Bool(_) => wrong("Unsupported type: 'bool'".to_owned()),
        Value::Array(_) => wrong("Unsupported type: '[]interface {}'".to_owned()),
        Value::Object(_) => wrong("Unsupported type: 'map[string]interface {}'".to_owned()),
    }
}

/// Go's `time.ParseDuration`: a sign, then numbers with units; `0` needs none.
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let points = digits.bytes().filter(|byte| *byte == b'.').count();
        if points > 1 || digits.len() == points {
            return false;
        }
        let unit =
            ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find_map(|unit| after.strip_prefix(unit));
        let Some(after) = unit else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_value(value: Value, want: Option<bool>) {
        assert_eq!(check(&value).ok(), want, "{value}");
    }

    #[test]
    fn seconds_and_durations_are_accepted() {
        for value in [json!(0), json!(-1), json!(300), json!(1.5), json!("5m"), json!("1h30m"), json!("-1s")]
        {
            check_value(value, Some(true));
        }
        check_value(json!("0"), Some(true));
        check_value(json!("1.5h"), Some(true));
        check_value(Value::Null, Some(false));
    }

    #[test]
    fn what_go_cannot_read_is_refused() {
        for value in ["", "5", "m", "5 m", "5x", "1..5h", ".s", "-", "5m3"] {
            check_value(json!(value), None);
        }
        check_value(json!(true), None);
        check_value(json!([]), None);
    }
}
