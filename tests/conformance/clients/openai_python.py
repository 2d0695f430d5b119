"""The real openai-python against a gateway. Ends with 1 if anything is wrong."""

import asyncio

import openai

from reference import TEXTS, Checks, arguments, shortened

gateway, model, upstream = arguments()
want = upstream.vectors(TEXTS)
options = dict(base_url=f"{gateway}/v1", api_key="none", max_retries=0, timeout=60)
client = openai.OpenAI(**options)
checks = Checks("openai-python")


def embed(texts, **more):
    return client.embeddings.create(model=model, input=texts, **more)


def vectors(answer):
    return [item.embedding for item in answer.data]


async def embed_all_at_once(texts):
    async with openai.AsyncOpenAI(**options) as client:
        asked = [client.embeddings.create(model=model, input=text) for text in texts]
        return [answer.data[0].embedding for answer in await asyncio.gather(*asked)]


answer = embed(TEXTS)
checks.same("a list in the default encoding", vectors(answer), want)
checks.check("indexes are in order", [item.index for item in answer.data] == list(range(len(TEXTS))))
checks.check("the model is echoed", answer.model == model, answer.model)
checks.check("tokens are counted", answer.usage.prompt_tokens == answer.usage.total_tokens > 0)
checks.same("one text", vectors(embed(TEXTS[0])), want[:1])
floats = embed(TEXTS, encoding_format="float")
checks.same("a list as floats", vectors(floats), want)
checks.check("the same tokens from memory", floats.usage == answer.usage, f"{floats.usage}")
checks.same("fewer dimensions", lambda: vectors(embed(TEXTS, dimensions=256)), shortened(want, 256))
many = [f"number {number} of many" for number in range(400)] * 2
checks.same("many texts, each twice", lambda: vectors(embed(many)), upstream.vectors(many))
checks.same("the asynchronous client", lambda: asyncio.run(embed_all_at_once(TEXTS)), want)
checks.check("the model is listed", model in [listed.id for listed in client.models.list()])
checks.check("the model is found", client.models.retrieve(model).id == model)
checks.raises(
    "an unknown model is not found",
    openai.NotFoundError,
    lambda: client.embeddings.create(model="no-such-model", input="a"),
    lambda error: error.code == "model_not_found" and error.request_id,
)
checks.raises(
    "an empty text is a bad request",
    openai.BadRequestError,
    lambda: embed(["a", ""]),
    lambda error: error.param == "input" and "1" in error.message,
)
checks.done()
