//! What each answer must be, beyond its status: the `expect` of each case, as far as a program can tell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::gateway::Answer;
use crate::scenes::DIMENSIONS;

type Verdict = Result<(), String>;

/// Every error must be in the shape of its API.
pub(crate) fn error_shape(api: &str, answer: &Answer) -> Verdict {
    let error = &answer.json["error"];
    let held = match api {
        "openai" => {
            let fields = error.as_object().ok_or("`error` is no object")?;
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            error["message"].as_str().is_some_and(|message| !message.is_empty())
                && error["type"].is_string()
                && ["code", "message", "param", "type"].iter().all(|name| names.contains(name))
        }
        _ => error.as_str().is_some_and(|message| !message.is_empty()),
    };
    said(held, "the error's shape", answer)
}

/// The verdict on the case `id`, whose status is right.
pub(crate) fn case(id: &str, answer: &Answer) -> Verdict {
    let json = &answer.json;
    match id {
        "oai-001" | "oai-040" => {
            said(json["object"] == "list", "object", answer)?;
            said(json["model"] == "test-embed", "model", answer)?;
            said(json["data"][0]["object"] == "embedding", "data[0].object", answer)?;
            let usage = &json["usage"];
            let counted =
                usage["prompt_tokens"] == usage["total_tokens"] && usage["prompt_tokens"].as_u64() > Some(0);
            said(counted, "usage", answer)?;
            if id == "oai-040" {
                said(answer.header("x-embergate-cache") == Some("1/1"), "a hit", answer)?;
            }
            floats(answer, 1)
        }
        "oai-003" | "oai-008" | "oai-015" => floats(answer, 1),
        "oai-016" => floats(answer, 2),
        "oai-031" => floats(answer, 400),
        "oai-005" => base64(answer, 2, DIMENSIONS),
        "oai-006" => base64(answer, 1, DIMENSIONS),
        "oai-010" => base64(answer, 1, 256),
        "oai-011" | "oai-013" => param(answer, "dimensions"),
        "oai-020" | "oai-025" | "oai-026" | "oai-028" | "oai-030" | "oai-018" => {
            invalid(answer)?;
            param(answer, "input")
        }
        "oai-021" => {
            param(answer, "input")?;
            message(answer, "empty")
        }
        "oai-023" => message(answer, "1"),
        "oai-033" => {
            let notice = answer.header("x-embergate-notice").unwrap_or_default();
            said(notice.contains("truncated texts: 0"), "the notice", answer)?;
            floats(answer, 1)
        }
        "oai-035" | "oai-038" | "oai-058" => floats(answer, 1),
        "oai-036" => {
            floats(answer, 2)?;
            let data = &json["data"];
            said(data[0]["embedding"] == data[1]["embedding"], "two identical vectors", answer)?;
            let n_tokens = json["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
            said(0 < n_tokens && n_tokens.is_multiple_of(2), "usage of both", answer)
        }
        "oai-041" => {
            invalid(answer)?;
            param(answer, "model")
        }
        "oai-043" | "oai-046" | "oai-048" => invalid(answer),
        "oai-045" => invalid(answer),
        "oai-055" | "oai-056" => {
            said(answer.header("x-should-retry") == Some("false"), "x-should-retry", answer)
        }
        "emb-039" => {
            said(answer.header("retry-after").is_some(), "retry-after", answer)?;
            error(answer, "server busy, please try again.  maximum pending requests exceeded")
        }
        "oai-053" => {
            said(json["error"]["type"] == "api_error", "error.type", answer)?;
            said(answer.header("retry-after").is_some(), "retry-after", answer)
        }
        "oai-060" | "emb-037" => {
            said(answer.header("allow").is_some_and(|allow| allow.contains("POST")), "allow", answer)
        }
        "oai-061" => {
            let allowed = answer.header("access-control-allow-headers").unwrap_or_default();
            let all = ["authorization", "content-type", "x-stainless-lang"];
            said(all.iter().all(|name| allowed.contains(name)), "allowed headers", answer)?;
            let origin = answer.header("access-control-allow-origin");
            said(origin == Some("http://localhost:3000"), "allowed origin", answer)
        }
        "mod-001" => {
            said(json["object"] == "list", "object", answer)?;
            let data = json["data"].as_array().ok_or("`data` is no list")?;
            data.iter().try_for_each(|model| model_body(model, answer))
        }
        "mod-003" => {
            let ids = json["data"].as_array().ok_or("`data` is no list")?;
            let any = ids.iter().any(|model| model["id"].as_str().is_some_and(|id| id.contains("embed")));
            said(any, "an id with `embed` in it", answer)
        }
        "mod-004" | "mod-006" => model_body(json, answer),
        "emb-001" => {
            said(json["model"] == "test-embed", "model", answer)?;
            for field in ["total_duration", "load_duration", "prompt_eval_count"] {
                said(json[field].is_u64(), field, answer)?;
            }
            vectors(answer, 1)
        }
        "emb-002" => vectors(answer, 2),
        "emb-004" | "emb-006" | "emb-007" => {
            said(json["embeddings"] == Value::Array(Vec::new()), "embeddings", answer)?;
            let absent = ["total_duration", "load_duration", "prompt_eval_count"];
            said(absent.iter().all(|field| json.get(field).is_none()), "no counters", answer)
        }
        "emb-009" | "emb-011" => error(answer, "invalid input type"),
        "emb-012" | "leg-006" => error(answer, "model \"nope\" not found, try pulling it first"),
        "emb-014" => error(answer, "invalid model name"),
        "emb-016" | "emb-017" => error(answer, "the input length exceeds the context length"),
        "emb-019" => {
            notices(answer, "options")?;
            vectors(answer, 3)
        }
        "emb-021" => vectors_of(answer, 1, 256),
        "emb-022" | "emb-032" | "emb-034" => vectors(answer, 1),
        "emb-024" | "emb-031" | "emb-036" | "emb-041" => Ok(()),
        "emb-026" | "emb-027" => {
            notices(answer, "keep_alive")?;
            vectors(answer, 1)
        }
        "emb-029" => error(answer, "Unsupported type: 'bool'"),
        "dis-013" => said(answer.text == "Ollama is running", "the words", answer),
        "dis-010" => error(answer, "model 'nope' not found"),
        "dis-015" => Ok(()),
        unknown => Err(format!("nobody judges `{unknown}`: add it here, or to the cases that wait")),
    }
}

/// Another body that must be answered by the same vectors, all of them from memory.
pub(crate) fn twin(id: &str) -> Option<&'static str> {
    match id {
        "oai-015" => Some(r#"{"model":"test-embed","input":"hello world"}"#),
        "oai-016" => Some(r#"{"model":"test-embed","input":["hello"," world"]}"#),
        "oai-036" => Some(r#"{"model":"test-embed","input":["a","a"]}"#),
        "oai-040" => Some(r#"{"model":"test-embed","input":"hello"}"#),
        _ => None,
    }
}

/// The verdict on the `twin` of a case: bit for bit the same.
pub(crate) fn same(answer: &Answer, twin: &Answer) -> Verdict {
    said(twin.status == 200 && twin.json["data"] == answer.json["data"], "the same text's vector", twin)?;
    said(twin.json["usage"] == answer.json["usage"], "the same text's usage", twin)?;
    let n_texts = twin.json["data"].as_array().map_or(0, Vec::len);
    let all = format!("{n_texts}/{n_texts}");
    said(twin.header("x-embergate-cache") == Some(all.as_str()), "the same entry of the cache", twin)
}

/// The verdict on how often the upstream was asked, where the case says it.
pub(crate) fn calls(id: &str, n_calls: usize) -> Verdict {
    let want = match id {
        "oai-001" => 1,
        "twin" | "oai-018" | "oai-021" | "oai-023" | "oai-030" | "oai-040" | "emb-009" | "emb-011"
        | "emb-016" => 0,
        _ => return Ok(()),
    };
    if n_calls == want { Ok(()) } else { Err(format!("{n_calls} calls to the upstream, not {want}")) }
}

fn said(held: bool, what: &str, answer: &Answer) -> Verdict {
    if held {
        return Ok(());
    }
    let start: String = answer.text.chars().take(300).collect();
    Err(format!("{what} is not as expected in {start} with {:?}", answer.headers))
}

fn floats(answer: &Answer, n_texts: usize) -> Verdict {
    let data = answer.json["data"].as_array().ok_or("`data` is no list")?;
    said(data.len() == n_texts, "the number of vectors", answer)?;
    for (index, item) in data.iter().enumerate() {
        said(item["index"] == index, "the index", answer)?;
        unit(&item["embedding"], DIMENSIONS, answer)?;
    }
    Ok(())
}

fn base64(answer: &Answer, n_texts: usize, dimensions: usize) -> Verdict {
    let data = answer.json["data"].as_array().ok_or("`data` is no list")?;
    said(data.len() == n_texts, "the number of vectors", answer)?;
    for item in data {
        let text = item["embedding"].as_str().ok_or("an embedding is no text")?;
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        said(bytes.len() == dimensions * 4, "the number of bytes", answer)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        norm_is_one(numbers.iter().map(|number| f32::from_le_bytes(*number).into()), answer)?;
    }
    Ok(())
}

fn vectors(answer: &Answer, n_texts: usize) -> Verdict {
    vectors_of(answer, n_texts, DIMENSIONS)
}

fn vectors_of(answer: &Answer, n_texts: usize, dimensions: usize) -> Verdict {
    let embeddings = answer.json["embeddings"].as_array().ok_or("`embeddings` is no list")?;
    said(embeddings.len() == n_texts, "the number of vectors", answer)?;
    embeddings.iter().try_for_each(|embedding| unit(embedding, dimensions, answer))
}

fn unit(embedding: &Value, dimensions: usize, answer: &Answer) -> Verdict {
    let numbers = embedding.as_array().ok_or("an embedding is no list of numbers")?;
    said(numbers.len() == dimensions, "the number of dimensions", answer)?;
    norm_is_one(numbers.iter().map(|number| number.as_f64().unwrap_or(f64::NAN)), answer)
}

fn norm_is_one(numbers: impl Iterator<Item = f64>, answer: &Answer) -> Verdict {
    let norm = numbers.map(|number| number * number).sum::<f64>().sqrt();
    said((norm - 1.0).abs() < 1e-3, "the norm", answer)
}

fn invalid(answer: &Answer) -> Verdict {
    said(answer.json["error"]["type"] == "invalid_request_error", "error.type", answer)
}

fn param(answer: &Answer, name: &str) -> Verdict {
    said(answer.json["error"]["param"] == name, "error.param", answer)
}

fn message(answer: &Answer, word: &str) -> Verdict {
    let message = answer.json["error"]["message"].as_str().unwrap_or_default();
    said(message.contains(word), "error.message", answer)
}

fn error(answer: &Answer, words: &str) -> Verdict {
    said(answer.json["error"] == words, "error", answer)
}

fn notices(answer: &Answer, field: &str) -> Verdict {
    let notice = answer.header("x-embergate-notice").unwrap_or_default();
    said(notice.contains("dropped") && notice.contains(field), "the notice", answer)
}

fn model_body(model: &Value, answer: &Answer) -> Verdict {
    let held = model["id"].is_string()
        && model["object"] == "model"
        && model["created"].is_u64()
        && model["owned_by"].is_string();
    said(held, "the model", answer)
}
