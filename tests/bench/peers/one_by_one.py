"""The indexing script that people start with, to measure against: one document after the other.

Usage: one_by_one.py API_URL MODEL FOLDER N. Prints the seconds that N documents took.
"""

import sys
import time
from pathlib import Path

import requests

API, MODEL, FOLDER, N = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

documents = [path.read_text() for path in sorted(Path(FOLDER).rglob("*.txt"))[:N]]

since = time.monotonic()
for document in documents:
    answer = requests.post(f"{API}/v1/embeddings", json={"model": MODEL, "input": document}, timeout=60)
    answer.raise_for_status()
    assert len(answer.json()["data"][0]["embedding"]) > 0
print(time.monotonic() - since)
