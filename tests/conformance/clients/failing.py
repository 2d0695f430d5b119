"""What the clients of Python make of errors, repeating requests as they do by default.

Usage: failing.py CLIENT GATEWAY_URL CASE…, where a case is MODEL or MODEL=TEXT.
Prints a line for each case: the exception's class and its status, or `fine`.
"""

import sys


def openai_python(gateway):
    import openai

    client = openai.OpenAI(base_url=f"{gateway}/v1", api_key="none")
    return lambda model, text: client.embeddings.create(model=model, input=text)


def ollama_python(gateway):
    import ollama

    client = ollama.Client(host=gateway)
    return lambda model, text: client.embed(model=model, input=text)


def langchain_openai(gateway):
    from langchain_openai import OpenAIEmbeddings

    make = lambda model: OpenAIEmbeddings(model=model, base_url=f"{gateway}/v1", api_key="none")
    return lambda model, text: make(model).embed_query(text)


def langchain_ollama(gateway):
    from langchain_ollama import OllamaEmbeddings

    return lambda model, text: OllamaEmbeddings(model=model, base_url=gateway).embed_query(text)


clients = {make.__name__: make for make in (openai_python, ollama_python, langchain_openai, langchain_ollama)}
name, gateway, *cases = sys.argv[1:]
embed = clients[name](gateway)
for case in cases:
    model, _, text = case.partition("=")
    try:
        embed(model, text if "=" in case else "kelp")
    except Exception as error:
        print(type(error).__module__.partition(".")[0], type(error).__name__, getattr(error, "status_code", None))
    else:
        print("fine")
