"""The pattern that people start with, to measure against.

A Python API that asks Ollama for one text at a time with a blocking client, and
keeps what it got in a cache on disk. Usage: pattern.py PORT OLLAMA_URL CACHE_FOLDER
"""

import base64
import hashlib
import struct
import sys

import diskcache
import requests
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

PORT, OLLAMA, FOLDER = int(sys.argv[1]), sys.argv[2], sys.argv[3]

app = FastAPI()
cache = diskcache.Cache(FOLDER)


class Body(BaseModel):
    model: str
    input: str | list[str]
    encoding_format: str = "float"


def embedding(model: str, text: str) -> list[float]:
    key = hashlib.sha256(f"{model}\0{text}".encode()).hexdigest()
    found = cache.get(key)
    if found is None:
        answer = requests.post(f"{OLLAMA}/api/embed", json={"model": model, "input": text}, timeout=60)
        answer.raise_for_status()
        found = answer.json()["embeddings"][0]
        cache.set(key, found)
    return found


def form(vector: list[float], encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector


@app.post("/v1/embeddings")
def embeddings(body: Body) -> dict:
    texts = [body.input] if isinstance(body.input, str) else body.input
    data = [
        {"object": "embedding", "index": index, "embedding": form(embedding(body.model, text), body.encoding_format)}
        for index, text in enumerate(texts)
    ]
    return {"object": "list", "data": data, "model": body.model, "usage": {"prompt_tokens": 0, "total_tokens": 0}}


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
