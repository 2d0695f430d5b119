"""Narrows the document to what the gateway of the test has, so that all that is valid must succeed."""

import os

import schemathesis

MODEL = "static-embed-en-256"
DIMENSIONS = 256

# `!`, `hello`, ` world` and `<|endoftext|>`.
WHOLE_TOKENS = [0, 15339, 1917, 100257]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith("Request"):
            for part in [schema, *schema.get("anyOf", [])]:
                narrow_models(part.get("properties", {}))
            # The header `x-embergate-purpose` says the same, and a schema cannot say that two must not differ.
            schema["properties"].pop("input_type", None)
    # Heeded only where there is no `model`, which the alternatives say.
    schemas["OllamaShowRequest"]["properties"] = {"model": {"enum": [MODEL, "", None]}, "name": {}, "verbose": {}}
    # Ollama's API takes more than there are, and gives those that there are.
    schemas["OpenaiRequest"]["properties"]["dimensions"]["maximum"] = DIMENSIONS
    # Without a key, a gateway that has some must refuse.
    if "EMBERGATE_KEY" in os.environ:
        raw_schema["security"] = [{"key": []}]
    for parameter in raw_schema["paths"]["/v1/models/{id}"]["parameters"]:
        parameter["schema"] = {"const": MODEL}


def narrow_models(properties):
    for field in {"model", "name"} & properties.keys():
        properties[field] = {"const": MODEL}


@schemathesis.hook
def filter_case(context, case):
    """Leaves out headers that nobody knows: every server ignores them, and what counts as a failure elsewhere
    is taken for one here, because one of ours is a number."""
    return not any(name.lower().startswith("x-schemathesis-unknown") for name in case.headers or {})


@schemathesis.hook
def map_case(context, case):
    """Puts other tokens in the place of those that are only part of a character, which a schema cannot tell."""
    if case.operation.path == "/v1/embeddings" and isinstance(case.body, dict) and "input" in case.body:
        case.body = case.body | {"input": with_whole_tokens(case.body["input"])}
    return case


def with_whole_tokens(part):
    if isinstance(part, list):
        return [with_whole_tokens(item) for item in part]
    if isinstance(part, (int, float)) and not isinstance(part, bool) and 0 <= part <= 100255 and part % 1 == 0:
        return type(part)(WHOLE_TOKENS[int(part) % len(WHOLE_TOKENS)])
    return part
