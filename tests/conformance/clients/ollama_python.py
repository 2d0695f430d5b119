"""The real ollama-python against a gateway. Ends with 1 if anything is wrong."""

import asyncio

import ollama

from reference import TEXTS, Checks, arguments, shortened

gateway, model, upstream = arguments()
want = upstream.vectors(TEXTS)
client = ollama.Client(host=gateway, timeout=60)
checks = Checks("ollama-python")


async def embed_all_at_once(texts):
    client = ollama.AsyncClient(host=gateway, timeout=60)
    answers = await asyncio.gather(*(client.embed(model=model, input=text) for text in texts))
    return [answer.embeddings[0] for answer in answers]


answer = client.embed(model=model, input=TEXTS)
checks.same("a list", answer.embeddings, want)
checks.check("the model is echoed", answer.model == model, answer.model)
checks.check("tokens are counted", (answer.prompt_eval_count or 0) > 0)
checks.same("one text", client.embed(model=model, input=TEXTS[0]).embeddings, want[:1])
with_options = client.embed(model=model, input=TEXTS, options={"num_ctx": 4096}, keep_alive="5m", truncate=True)
checks.same("options change nothing", with_options.embeddings, want)
shorter = client.embed(model=model, input=TEXTS, dimensions=256)
checks.same("fewer dimensions", shorter.embeddings, shortened(want, 256))
checks.same("the asynchronous client", lambda: asyncio.run(embed_all_at_once(TEXTS)), want)
checks.check("nothing asked is nothing answered", list(client.embed(model=model, input=[]).embeddings) == [])
checks.raises(
    "an unknown model is not found",
    ollama.ResponseError,
    lambda: client.embed(model="no-such-model", input="a"),
    lambda error: error.status_code == 404 and "not found" in error.error,
)
checks.done()
