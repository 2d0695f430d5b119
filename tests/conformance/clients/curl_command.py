"""curl against a gateway, as the front page shows it. Ends with 1 if anything is wrong."""

import json
import subprocess

from reference import TEXTS, Checks, arguments

gateway, model, upstream = arguments()
want = upstream.vectors(TEXTS)
checks = Checks("curl")


def curl(path, body=None, *more):
    """What curl prints, with the status on a line of its own."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}", *more]
    if body is not None:
        command += ["--header", "content-type: application/json", "--data-binary", "@-"]
    said = subprocess.run(
        [*command, f"{gateway}{path}"], input=json.dumps(body), capture_output=True, text=True, check=True
    )
    text, _, status = said.stdout.rpartition("\n")
    return int(status), json.loads(text)


status, answer = curl("/v1/embeddings", {"model": model, "input": TEXTS})
checks.check("the list is answered", status == 200, status)
checks.same("a list, as numbers unless asked otherwise", [item["embedding"] for item in answer["data"]], want)
status, answer = curl("/api/embed", {"model": model, "input": TEXTS})
checks.same("a list in Ollama's words", answer["embeddings"], want)
# Without a content type of JSON: curl then says that it sends a form.
status, answer = curl("/v1/embeddings", None, "--data-binary", json.dumps({"model": model, "input": TEXTS[2]}))
checks.same("a body that says it is a form", [item["embedding"] for item in answer["data"]], want[2:3])
# Above 1 KiB, curl asks with `expect: 100-continue` whether it may send the body.
long = TEXTS[1] * 20_000
body = {"model": model, "input": ["one", long[:300_000]]}
status, answer = curl("/api/embed", body, "--header", "expect: 100-continue")
checks.check("a long body that asks first", status == 200 and len(answer["embeddings"]) == 2, status)
status, answer = curl("/v1/embeddings", {"model": model, "input": TEXTS}, "--http2-prior-knowledge")
checks.same("a list over HTTP/2", [item["embedding"] for item in answer["data"]], want)
status, answer = curl("/v1/models")
checks.check("the model is listed", model in [listed["id"] for listed in answer["data"]])
status, answer = curl("/v1/embeddings", {"model": "no-such-model", "input": "a"})
checks.check("an unknown model is not found", (status, answer["error"]["code"]) == (404, "model_not_found"))
checks.done()
