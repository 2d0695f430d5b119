//! Answers `/openapi.json`: what the APIs' listener serves, written by hand in
//! `openapi.json` and held to the code by the tests below. Its answers are held
//! to real ones by `tests/conformance` and `tests/fuzz`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

/// OpenAPI 3.1.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn document() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(DOCUMENT.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::server::route::Route;
    use crate::server::{exchange, guard, ollama, openai, options, route};
    use crate::tokenizer::Cl100k;

    type Names = BTreeSet<String>;

    fn read() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// The keys of what is at `pointer`.
    #[track_caller]
    fn names_at(document: &Value, pointer: &str) -> Names {
        let found = document.pointer(pointer).and_then(Value::as_object);
        let found = found.unwrap_or_else(|| panic!("nothing is at `{pointer}`"));
        found.keys().cloned().collect()
    }

    fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> Names {
        names.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn its_version_is_the_gateways() {
        assert_eq!(read()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    /// The paths of the table, as the document writes them.
    fn served() -> Names {
        documented().map(|(path, _)| path.replace("{*", "{")).collect()
    }

    /// What is refused on every path alike is said once.
    fn documented() -> impl Iterator<Item = &'static (&'static str, Route)> {
        route::APIS.iter().filter(|(_, route)| !matches!(route, Route::OllamaManage | Route::OllamaGenerate))
    }

    #[test]
    fn its_paths_and_methods_are_those_of_the_routes() {
        let document = read();
        assert_eq!(names_at(&document, "/paths"), served());
        for (path, route) in documented() {
            let told = document["paths"][path.replace("{*", "{")].as_object().unwrap();
            let methods = told.keys().filter(|key| *key != "parameters").map(|key| key.to_uppercase());
            // Every path takes OPTIONS, which is said once, for all.
            let takes = route.methods().allow.split(", ").filter(|method| *method != "OPTIONS");
            assert_eq!(methods.collect::<Names>(), names(takes), "{path}");
        }
    }

    /// Fields that the document calls ignored are in no struct.
    #[track_caller]
    fn check_fields(schema: &str, fields: &[&str]) {
        let document = read();
        let told = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let is_heeded = |part: &Value| part["description"] != "Taken and ignored.";
        let heeded = told.iter().filter(|(_, part)| is_heeded(part)).map(|(name, _)| name.clone());
        assert_eq!(heeded.collect::<Names>(), names(fields.iter().copied()), "{schema}");
    }

    #[test]
    fn fields_of_requests_are_those_that_are_read() {
        check_fields("OpenaiRequest", openai::fields());
        check_fields("OllamaEmbedRequest", ollama::fields());
        check_fields("OllamaEmbeddingsRequest", ollama::fields());
    }

    #[test]
    fn headers_of_requests_are_those_that_are_read() {
        let document = read();
        let own = document["components"]["parameters"].as_object().unwrap().values();
        let told: Names = own.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
        let read = options::READ.into_iter().chain([exchange::REQUEST_ID]);
        assert_eq!(told, names(read));
    }

    #[test]
    fn headers_of_answers_are_those_that_a_page_may_read() {
        let told = names_at(&read(), "/components/headers");
        assert_eq!(told, names(guard::EXPOSED_HEADERS.split(", ")));
    }

    #[test]
    fn the_token_numbers_are_those_of_the_table() {
        let document = read();
        let ranges = document.pointer("/components/schemas/OpenaiTokens/items/anyOf").unwrap();
        let ranges = ranges.as_array().unwrap();
        let told = |token: u32| {
            let bound = |range: &Value, name: &str| u32::try_from(range[name].as_u64().unwrap()).unwrap();
            ranges.iter().any(|range| (bound(range, "minimum")..=bound(range, "maximum")).contains(&token))
        };
        let table = Cl100k::get().unwrap();
        for token in 0..101_000 {
            assert_eq!(told(token), table.token(token).is_some(), "{token}");
        }
    }

    #[test]
    fn names_of_operations_are_unique_and_references_lead_somewhere() {
        let document = read();
        let mut operations = BTreeSet::new();
        walk(&document, &mut |part| {
            if let Some(id) = part.get("operationId") {
                assert!(operations.insert(id.to_string()), "two operations are {id}");
            }
            if let Some(target) = part.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "nothing is at `{target}`");
            }
        });
    }

    #[test]
    fn nothing_is_written_that_nothing_refers_to() {
        let document = read();
        let mut referred = BTreeSet::new();
        walk(&document, &mut |part| {
            referred.extend(part.get("$ref").and_then(Value::as_str).map(str::to_owned));
        });
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in names_at(&document, &format!("/components/{kind}")) {
                let target = format!("#/components/{kind}/{name}");
                assert!(referred.contains(&target), "nothing refers to `{target}`");
            }
        }
    }

    fn walk(part: &Value, see: &mut impl FnMut(&Value)) {
        see(part);
        match part {
            Value::Array(parts) => parts.iter().for_each(|part| walk(part, see)),
            Value::Object(parts) => parts.values().for_each(|part| walk(part, see)),
            _ => {}
        }
    }
}
