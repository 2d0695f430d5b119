"""LangChain's OpenAIEmbeddings as it comes, against a gateway. Ends with 1 if anything is wrong.

It sends numbers of tokens instead of texts, asks for base64, cuts texts into pieces of 8191
tokens, and averages the pieces' vectors.
"""

import asyncio

import openai
import tiktoken
from langchain_openai import OpenAIEmbeddings

from reference import TEXTS, Checks, arguments, normalised, shortened

# Tokens in a piece, at most: LangChain's own number.
PIECE = 8191

gateway, model, upstream = arguments()
want = upstream.vectors(TEXTS)
options = dict(base_url=f"{gateway}/v1", api_key="none")
client = OpenAIEmbeddings(model=model, **options)
cl100k = tiktoken.get_encoding("cl100k_base")
checks = Checks("langchain-openai")


def averaged(text):
    """The mean of the vectors of the text's pieces, weighed by their tokens, with norm 1."""
    tokens = cl100k.encode_ordinary(text)
    pieces = [tokens[at : at + PIECE] for at in range(0, len(tokens), PIECE)]
    vectors = upstream.vectors([cl100k.decode(piece) for piece in pieces])
    weights = [len(piece) for piece in pieces]
    return normalised([sum(n * w for n, w in zip(numbers, weights)) for numbers in zip(*vectors)])


async def at_once():
    """One event loop for all: the client keeps its connections in the first that it sees."""
    calls = client.aembed_documents(TEXTS), client.aembed_query(TEXTS[3]), client.aembed_documents(TEXTS)
    first, question, last = await asyncio.gather(*calls)
    return [*first, question, *last]


def cut_in_half():
    """A text whose first piece ends within a letter."""
    for at in range(12):
        text = "x" * at + "海带 kelp 鱻 deniz 🧪 " * 800
        first = cl100k.decode_bytes(cl100k.encode_ordinary(text)[:PIECE])
        if first.decode(errors="ignore").encode() != first:
            return text
    raise AssertionError("no text is cut within a letter")


checks.same("a list", lambda: client.embed_documents(TEXTS), want)
checks.same("a question", lambda: [client.embed_query(TEXTS[1])], want[1:2])
checks.same("lists and a question at once", lambda: asyncio.run(at_once()), want + want[3:4] + want)

many = [f"number {number} of many" for number in range(1_100)]
checks.same("more texts than go into one request", lambda: client.embed_documents(many), upstream.vectors(many))

long = " ".join(f"sea{number}" for number in range(6_000))
checks.check("a long text has three pieces", 2 * PIECE < len(cl100k.encode_ordinary(long)) <= 3 * PIECE)
checks.same("a text of three pieces, between others",
            lambda: client.embed_documents([TEXTS[0], long, TEXTS[2]]), [want[0], averaged(long), want[2]])
half = cut_in_half()
checks.same("a text that is cut within a letter", lambda: [client.embed_query(half)], [averaged(half)])

shorter = OpenAIEmbeddings(model=model, dimensions=256, **options)
checks.same("fewer dimensions", lambda: shorter.embed_documents(TEXTS), shortened(want, 256))

checks.check("nothing asked is nothing answered", client.embed_documents([]) == [])
# LangChain asks for the vector of the empty text on its own: `input: ""`.
checks.raises(
    "an empty text is a bad request",
    openai.BadRequestError,
    lambda: client.embed_documents([TEXTS[0], ""]),
    lambda error: error.param == "input" and "empty" in error.message,
)
checks.raises(
    "an unknown model is not found",
    openai.NotFoundError,
    lambda: OpenAIEmbeddings(model="no-such-model", **options).embed_query("a"),
    lambda error: error.code == "model_not_found",
)
checks.done()
