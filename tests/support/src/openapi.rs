//! Holds requests and answers to the gateway's OpenAPI document.

use serde_json::{Map, Value};

mod schema;

/// The document, read.
pub struct Document(Value);

/// An answer as it came.
pub struct Answer<'a> {
    pub status: u16,
    /// In lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

type Verdict = Result<(), String>;

impl Document {
    /// # Panics
    /// When `json` is no JSON.
    pub fn new(json: &[u8]) -> Self {
        Self(serde_json::from_slice(json).expect("the document is JSON"))
    }

    /// Whether `body` is what the document lets a client send.
    ///
    /// # Errors
    /// Says where it is not.
    pub fn check_request(&self, method: &str, path: &str, body: &[u8]) -> Verdict {
        let operation = self.operation(method, path).ok_or("the document has no such operation")?;
        let Some(asked) = operation.get("requestBody") else { return Ok(()) };
        let body = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
        schema::check(&self.0, &asked["content"]["application/json"]["schema"], &body, false)
    }

    /// Whether every example is what the schema beside it says.
    ///
    /// # Errors
    /// Names the first place where one is not.
    pub fn check_examples(&self) -> Verdict {
        self.check_examples_in(&self.0, "")
    }

    fn check_examples_in(&self, part: &Value, place: &str) -> Verdict {
        if let Some(schema) = part.get("schema") {
            let several = part.get("examples").and_then(Value::as_object);
            let several = several.into_iter().flat_map(Map::values).map(|example| &example["value"]);
            for example in part.get("example").into_iter().chain(several) {
                schema::check(&self.0, schema, example, true).map_err(|why| format!("{place}: {why}"))?;
            }
        }
        match part {
            Value::Object(parts) => parts
                .iter()
                .try_for_each(|(name, part)| self.check_examples_in(part, &format!("{place}/{name}"))),
            Value::Array(parts) => parts.iter().try_for_each(|part| self.check_examples_in(part, place)),
            _ => Ok(()),
        }
    }

    /// Whether `answer` is one that the document promises for `method` and `path`.
    ///
    /// # Errors
    /// Says what it does not promise.
    pub fn check_answer(&self, method: &str, path: &str, answer: &Answer<'_>) -> Verdict {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        answer.header("x-request-id").ok_or("`x-request-id` is missing")?;
        let checked = match self.operation(method, path) {
            _ if answer.refuses_head() => self.check_error(method, path, answer),
            Some(operation) => self.check_promised(operation, method, answer),
            None => self.check_unpromised(method, path, answer),
        };
        checked.map_err(|why| format!("{method} {path} → {}: {why}", answer.status))
    }

    fn check_promised(&self, operation: &Map<String, Value>, method: &str, answer: &Answer<'_>) -> Verdict {
        // Said once, for all paths.
        if method == "OPTIONS" && answer.status == 204 {
            return answer.check_empty();
        }
        let promised = operation.get("responses").and_then(|all| all.get(answer.status.to_string()));
        let promised = schema::resolved(&self.0, promised.ok_or("the document has no such status")?);
        for (name, header) in promised["headers"].as_object().into_iter().flatten() {
            self.check_header(name, schema::resolved(&self.0, header), answer)?;
        }
        if method != "HEAD" {
            answer.check_no_header_beyond(&promised["headers"])?;
        }
        let Some(content) = promised["content"].as_object() else { return answer.check_empty() };
        let media_type = answer.header("content-type").ok_or("`content-type` is missing")?;
        let content = content.get(media_type).ok_or_else(|| format!("`content-type` is `{media_type}`"))?;
        schema::check(&self.0, &content["schema"], &answer.read(media_type)?, true)
    }

    fn check_header(&self, name: &str, promised: &Value, answer: &Answer<'_>) -> Verdict {
        let text = match answer.header(name) {
            Some(text) => text,
            None if promised["required"] == true => return Err(format!("`{name}` is missing")),
            None => return Ok(()),
        };
        let value = match promised["schema"]["type"] == "integer" {
            true => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
            false => text.into(),
        };
        schema::check(&self.0, &promised["schema"], &value, true).map_err(|why| format!("`{name}`: {why}"))
    }

    /// An answer to what the document does not have: another path, another method, a preflight.
    fn check_unpromised(&self, method: &str, path: &str, answer: &Answer<'_>) -> Verdict {
        let statuses: &[u16] = match (self.path(path), method) {
            // An escape that is no text leads nowhere.
            (Some(_), _) if path.contains('%') => &[204, 404, 405, 403],
            (Some(_), "OPTIONS") => &[204, 403],
            (Some(_), _) => &[405, 403],
            // Management of models, which is Ollama's own, is refused with 501 to whoever may ask.
            (None, _) => &[404, 405, 403, 501, 401, 429],
        };
        if !statuses.contains(&answer.status) {
            return Err(format!("the status is none of {statuses:?}"));
        }
        if answer.status == 405 && answer.header("allow").is_none() {
            return Err("`allow` is missing".to_owned());
        }
        if answer.status == 204 {
            return answer.check_empty();
        }
        self.check_error(method, path, answer)
    }

    /// An error of no operation, in the form of the path's API.
    fn check_error(&self, method: &str, path: &str, answer: &Answer<'_>) -> Verdict {
        if method == "HEAD" {
            return answer.check_empty();
        }
        let under = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
        let (media_type, name) = match () {
            () if under("/v1") => ("application/json", "OpenaiError"),
            () if under("/api") => ("application/json", "OllamaError"),
            () => ("text/plain; charset=utf-8", ""),
        };
        if answer.header("content-type") != Some(media_type) {
            return Err(format!("`content-type` is not `{media_type}`"));
        }
        let schema = self.0["components"]["schemas"].get(name).unwrap_or(&Value::Bool(true));
        schema::check(&self.0, schema, &answer.read(media_type)?, true)
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Map<String, Value>> {
        self.path(path)?.get(method.to_lowercase().as_str())?.as_object()
    }

    /// What the document says of `path`; a name in braces at the end stands for all the rest.
    fn path(&self, path: &str) -> Option<&Value> {
        let paths = self.0["paths"].as_object()?;
        paths.get(path).or_else(|| {
            let fits = |template: &str| {
                let prefix = template.split('{').next().unwrap_or_default();
                prefix != template && path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
            };
            paths.iter().find(|(template, _)| fits(template)).map(|(_, found)| found)
        })
    }
}

impl Answer<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether nothing but the head was looked at: any path may be answered so.
    fn refuses_head(&self) -> bool {
        matches!(self.status, 400 | 414 | 431) && self.header("connection") == Some("close")
    }

    /// Headers of the gateway's own are promised, but for those that are said once, for all answers.
    fn check_no_header_beyond(&self, promised: &Value) -> Verdict {
        let is_own = |name: &str| {
            name.starts_with("x-embergate-")
                || ["x-should-retry", "retry-after", "retry-after-ms", "www-authenticate", "allow"]
                    .contains(&name)
        };
        match self.headers.iter().find(|(name, _)| is_own(name) && promised.get(name).is_none()) {
            Some((name, value)) => Err(format!("`{name}: {value}` is not promised")),
            None => Ok(()),
        }
    }

    fn check_empty(&self) -> Verdict {
        if self.body.is_empty() { Ok(()) } else { Err("there is a body where none is promised".to_owned()) }
    }

    fn read(&self, media_type: &str) -> Result<Value, String> {
        if media_type == "application/json" {
            return serde_json::from_slice(self.body)
                .map_err(|error| format!("the body is no JSON: {error}"));
        }
        String::from_utf8(self.body.to_vec()).map(Value::from).map_err(|_| "the body is no text".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        let id = json!({ "x-request-id": { "required": true, "schema": { "type": "string" } } });
        let seconds = json!({ "retry-after": { "schema": { "type": "integer", "minimum": 1 } } });
        let name =
            json!({ "type": "object", "required": ["id"], "properties": { "id": { "type": "string" } } });
        let get = json!({ "responses": {
            "200": { "headers": id, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Name" } } } },
            "503": { "headers": seconds },
        } });
        let schemas = json!({ "Name": name, "OpenaiError": { "type": "object", "required": ["error"] } });
        Document(
            json!({ "paths": { "/v1/models/{id}": { "get": get } }, "components": { "schemas": schemas } }),
        )
    }

    #[track_caller]
    fn check(
        asked: (&str, &str),
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
        complaint: Option<&str>,
    ) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = [("x-request-id", "1")].iter().chain(headers).map(owned).collect();
        let answer = Answer { status, headers: &headers, body: body.as_bytes() };
        match (document().check_answer(asked.0, asked.1, &answer), complaint) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part), "{why}"),
            (verdict, complaint) => panic!("{verdict:?}, and not {complaint:?}"),
        }
    }

    const MODEL: (&str, &str) = ("GET", "/v1/models/a/b?c");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn what_is_promised_passes_and_all_else_does_not() {
        check(MODEL, 200, &[JSON], r#"{"id":"a"}"#, None);
        check(MODEL, 200, &[JSON], r#"{"id":7}"#, Some("`id`"));
        check(MODEL, 200, &[JSON], r#"{"id":"a","more":1}"#, Some("`more`"));
        check(MODEL, 200, &[JSON], "{", Some("no JSON"));
        check(MODEL, 200, &[("content-type", "text/html")], "{}", Some("`text/html`"));
        check(MODEL, 404, &[JSON], r#"{"error":{}}"#, Some("no such status"));
        check(MODEL, 503, &[("retry-after", "0")], "", Some("`retry-after`"));
        check(MODEL, 503, &[("retry-after", "soon")], "", Some("`retry-after`"));
        check(MODEL, 503, &[("retry-after", "1")], "", None);
    }

    #[test]
    fn a_refused_head_is_an_error_in_the_apis_form_on_any_path() {
        let close = ("connection", "close");
        for status in [400, 414, 431] {
            check(MODEL, status, &[JSON, close], r#"{"error":{}}"#, None);
            check(("GET", "/v1/nope"), status, &[JSON, close], "{}", Some("`error`"));
            check(MODEL, status, &[JSON], r#"{"error":{}}"#, Some("no such status"));
        }
    }

    #[test]
    fn headers_of_the_gateways_own_are_promised_or_said_for_all() {
        check(MODEL, 200, &[JSON, ("x-should-retry", "true")], r#"{"id":"a"}"#, Some("not promised"));
        check(MODEL, 200, &[JSON, ("x-ratelimit-limit-texts", "1")], r#"{"id":"a"}"#, None);
    }

    #[test]
    fn an_example_is_of_its_schema() {
        let example = |example: serde_json::Value| {
            Document(json!({ "a": [{ "schema": { "type": "string" }, "example": example }] }))
                .check_examples()
        };
        assert_eq!(example(json!("text")), Ok(()));
        assert!(example(json!(7)).unwrap_err().starts_with("/a"));
    }

    #[test]
    fn what_the_document_does_not_have_is_an_error_in_the_apis_form() {
        check(("GET", "/v1/nope"), 404, &[JSON], r#"{"error":{}}"#, None);
        check(("GET", "/v1/nope"), 404, &[JSON], "{}", Some("`error`"));
        check(("GET", "/nope"), 404, &[JSON], "{}", Some("`content-type`"));
        check(("GET", "/v1/nope"), 200, &[JSON], "{}", Some("none of"));
        check(("POST", MODEL.1), 405, &[JSON], r#"{"error":{}}"#, Some("`allow`"));
        check(("OPTIONS", MODEL.1), 204, &[], "", None);
    }
}
