"""What the Python clients share: known texts, and their vectors asked for without any client."""

import json
import math
import sys
import urllib.request

TEXTS = [
    "Kelp grows up to half a metre a day.",
    "Su 100 derecede kaynar, dağda daha erken.",
    "日本語 🧪 é",
    "line one\nline two\ttab \"quoted\" \\ backslash",
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
        """Every vector must have the numbers that it has in the reference."""
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


def compare(got, want):
    if len(got) != len(want):
        return False, f"{len(got)} vectors for {len(want)} texts"
    for index, (left, right) in enumerate(zip(got, want)):
        if len(left) != len(right):
            return False, f"text {index} has {len(left)} dimensions, not {len(right)}"
        if not all(math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-6) for x, y in zip(left, right)):
            return False, f"text {index} has another vector"
    return True, ""


def arguments():
    """GATEWAY_URL MODEL [REFERENCE_URL [REFERENCE_MODEL]]; the gateway is its own reference by default."""
    given = sys.argv[1:]
    if not 2 <= len(given) <= 4:
        sys.exit("usage: GATEWAY_URL MODEL [REFERENCE_URL [REFERENCE_MODEL]]")
    gateway, model = given[0].rstrip("/"), given[1]
    reference = given[2].rstrip("/") if len(given) > 2 else gateway
    return gateway, model, vectors(reference, given[3] if len(given) > 3 else model)


def vectors(url, model):
    """Asks `/api/embed` for the known texts with nothing but the standard library."""
    body = json.dumps({"model": model, "input": TEXTS}).encode()
    request = urllib.request.Request(f"{url}/api/embed", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["embeddings"]
