//! Ollama's `options`: checked, then dropped. Other options than the ones a
//! model is running with would make the upstream load it again.

use serde_json::Value;

use crate::server::error::ApiError;

const INTEGERS: &[&str] = &[
    "main_gpu",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "repeat_last_n",
    "seed",
    "top_k",
];
const NUMBERS: &[&str] = &[
    "frequency_penalty",
    "min_p",
    "presence_penalty",
    "repeat_penalty",
    "temperature",
    "top_p",
    "typical_p",
];
const BOOLEANS: &[&str] = &["use_mmap"];
const LISTS: &[&str] = &["stop"];

/// Returns whether there are any.
///
/// # Errors
/// Names the first known option that has another type than Ollama gives it.
pub(super) fn check(value: &Value) -> Result<bool, ApiError> {
    let options = match value {
        Value::Null => return Ok(false),
        Value::Object(options) => options,
        _ => return Err(ApiError::invalid("options", "`options` must be an object")),
    };
    for (name, value) in options {
        let name = name.as_str();
        let (fits, wanted) = match name {
            _ if value.is_null() => continue,
            _ if INTEGERS.contains(&name) => (value.is_number(), "integer"),
            _ if NUMBERS.contains(&name) => (value.is_number(), "float32"),
            _ if BOOLEANS.contains(&name) => (value.is_boolean(), "boolean"),
            _ if LISTS.contains(&name) => (value.is_array(), "array"),
            // Ollama ignores what it does not know.
            _ => continue,
        };
        if !fits {
            return Err(ApiError::invalid("options", format!("option \"{name}\" must be of type {wanted}")));
        }
    }
    Ok(!options.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_options(options: Value, want: Result<bool, &str>) {
        let want = want.map_err(|message| ApiError::invalid("options", message));
        assert_eq!(check(&options), want);
    }

    #[test]
    fn known_options_are_checked_and_unknown_ones_are_not() {
        check_options(
            json!({ "num_ctx": 30, "temperature": 0.1, "use_mmap": true, "stop": ["x"] }),
            Ok(true),
        );
        check_options(json!({ "no_such": "x" }), Ok(true));
        check_options(json!({ "num_ctx": null }), Ok(true));
        check_options(json!({}), Ok(false));
    }

    #[test]
    fn a_wrong_type_names_the_option() {
        check_options(json!({ "num_ctx": "x" }), Err("option \"num_ctx\" must be of type integer"));
        check_options(json!({ "use_mmap": 1 }), Err("option \"use_mmap\" must be of type boolean"));
        check_options(json!([1]), Err("`options` must be an object"));
    }
}
