"""The real openai-python against a gateway. Ends with 1 if anything is wrong."""

import openai

from reference import TEXTS, Checks, arguments

gateway, model, want = arguments()
client = openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0, timeout=60)
checks = Checks("openai-python")


def embed(texts, **more):
    return client.embeddings.create(model=model, input=texts, **more)


answer = embed(TEXTS)
checks.same("a list in the default encoding", [item.embedding for item in answer.data], want)
checks.check("indexes are in order", [item.index for item in answer.data] == list(range(len(TEXTS))))
checks.check("the model is echoed", answer.model == model, answer.model)
checks.check("tokens are counted", answer.usage.prompt_tokens == answer.usage.total_tokens > 0)
checks.same("one text", [embed(TEXTS[0]).data[0].embedding], want[:1])
floats = embed(TEXTS, encoding_format="float")
checks.same("a list as floats", [item.embedding for item in floats.data], want)
checks.check("the same tokens from memory", floats.usage == answer.usage, f"{floats.usage}")
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
