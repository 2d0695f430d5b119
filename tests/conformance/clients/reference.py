"""What the clients of Python share: texts, checks, and the upstream's own vectors, asked for without a gateway."""

import json
import math
import sys
import urllib.error
import urllib.request

TEXTS = [
    "Kelp grows up to half a metre a day.",
    "Su 100 derecede kaynar, dağda daha erken: İĞNE ile ığıl ığıl.",
    "日本語 🧪 é",
    "海带每天能长半米。찬물에서 자란다. เติบโตในน้ำเย็น",
    "line one\nline two\ttab \"quoted\" \\ backslash",
    "A combining caf\u0065\u0301, a family 👩‍👩‍👧‍👦, a word<|endoftext|> that is no end of text.",
]


class Checks:
    """Counts what held and what did not, and says it line by line."""

    def __init__(self, client):
        self.client = client
        self.failed = 0

    def check(self, name, held, detail=""):
        if held:
            print(f"OK    {self.client}: {name}")
        else:
            self.failed += 1
            print(f"FAIL  {self.client}: {name} {detail}")

    def same(self, name, got, want):
        """Every vector must have the numbers that it has in the reference. `got` may be a function that gets it."""
        try:
            got = got() if callable(got) else got
        except Exception as error:
            self.check(name, False, f"raised {error!r}")
        else:
            self.check(name, *compare(got, want))

    def raises(self, name, kind, call, accept=lambda error: True):
        try:
            call()
        except kind as error:
            self.check(name, accept(error), repr(error))
        except Exception as error:  # Whatever else it is, it is the wrong one.
            self.check(name, False, f"raised {error!r}")
        else:
            self.check(name, False, "raised nothing")

    def done(self):
        sys.exit(1 if self.failed else 0)


class Upstream:
    """The server behind the gateway, asked in Ollama's language with nothing but the standard library."""

    def __init__(self, url, model):
        self.url = url
        self.model = model

    def vectors(self, texts):
        status, body = post(f"{self.url}/api/embed", {"model": self.model, "input": texts})
        if status != 200:
            sys.exit(f"the upstream at {self.url} answered {status}: {body}")
        return json.loads(body)["embeddings"]

    def vector(self, text):
        return self.vectors([text])[0]


def arguments():
    """The gateway's address, the model's name there, and the upstream behind it."""
    given = sys.argv[1:]
    if not 3 <= len(given) <= 4:
        sys.exit("usage: GATEWAY_URL MODEL UPSTREAM_URL [UPSTREAM_MODEL]")
    gateway, model, upstream = given[0].rstrip("/"), given[1], given[2].rstrip("/")
    if gateway == upstream:
        sys.exit("the gateway cannot be its own reference: name the upstream behind it")
    return gateway, model, Upstream(upstream, given[3] if len(given) > 3 else model)


def post(url, body, headers=()):
    """Status and text of an answer, whatever the status is."""
    headers = {"content-type": "application/json", **dict(headers)}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def compare(got, want):
    if len(got) != len(want):
        return False, f"{len(got)} vectors for {len(want)} texts"
    for index, (left, right) in enumerate(zip(got, want)):
        if len(left) != len(right):
            return False, f"text {index} has {len(left)} dimensions, not {len(right)}"
        if not all(math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-6) for x, y in zip(left, right)):
            return False, f"text {index} has another vector"
    return True, ""


def shortened(vectors, n):
    """The first `n` numbers of each vector, with norm 1: what `dimensions` asks for."""
    return [normalised(vector[:n]) for vector in vectors]


def normalised(vector):
    norm = math.sqrt(sum(number * number for number in vector))
    return [number / norm for number in vector]
