"""LangChain's OllamaEmbeddings as it comes, against a gateway. Ends with 1 if anything is wrong.

It sends all texts in one request, with a full set of options.
"""

import asyncio

import ollama
from langchain_ollama import OllamaEmbeddings

from reference import TEXTS, Checks, arguments, shortened

gateway, model, upstream = arguments()
want = upstream.vectors(TEXTS)
client = OllamaEmbeddings(model=model, base_url=gateway)
checks = Checks("langchain-ollama")

checks.same("a list", lambda: client.embed_documents(TEXTS), want)
checks.same("a question", lambda: [client.embed_query(TEXTS[1])], want[1:2])
checks.same("the asynchronous list", lambda: asyncio.run(client.aembed_documents(TEXTS)), want)
many = [f"number {number} of many" for number in range(1_100)]
checks.same("many texts in one request", lambda: client.embed_documents(many), upstream.vectors(many))
long = " ".join(f"sea{number}" for number in range(6_000))
checks.same("a long text, whole", lambda: [client.embed_query(long)], [upstream.vector(long)])
shorter = OllamaEmbeddings(model=model, base_url=gateway, dimensions=256)
checks.same("fewer dimensions", lambda: shorter.embed_documents(TEXTS), shortened(want, 256))
set_up = OllamaEmbeddings(model=model, base_url=gateway, num_ctx=4096, temperature=0.5, keep_alive=60)
checks.same("options change nothing", lambda: set_up.embed_documents(TEXTS), want)
checks.check("nothing asked is nothing answered", list(client.embed_documents([])) == [])
checks.raises(
    "an unknown model is not found",
    ollama.ResponseError,
    lambda: OllamaEmbeddings(model="no-such-model", base_url=gateway).embed_query("a"),
    lambda error: error.status_code == 404 and "not found" in error.error,
)
checks.done()
