#!/usr/bin/env python3
"""How well does `embergate search` find the paragraph that answers a question?

Indexes the paragraphs of an XQuAD file as one document each, asks every question
through the real binary, and prints recall@1, recall@10 and the mean reciprocal rank
for each ranking. Documents count once, at their best chunk.

    tests/bench/retrieval.py $EMBERGATE_EVAL_DATA/xquad/xquad.tr.json --language tr
    tests/bench/retrieval.py … --config embergate.toml --model multilingual-e5-small

Needs nothing beyond Python 3.10. XQuAD is public: compare settings under one model,
never models with each other.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

CHUNKS_ASKED_FOR = 40  # enough to see ten documents


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("file", type=pathlib.Path)
    arguments.add_argument("--language", required=True)
    arguments.add_argument("--bin", default="target/release/embergate")
    arguments.add_argument("--config", type=pathlib.Path)
    arguments.add_argument("--model")
    arguments.add_argument("--rankings", nargs="+", default=["dense", "sparse", "hybrid"])
    arguments.add_argument("--work", type=pathlib.Path, help="keep the store here; a temporary folder when absent")
    arguments.add_argument("--only", choices=["index", "search"], help="one half, with --work: for servers that have to\nbe told in between that questions come next")
    arguments.add_argument("--questions", type=int, default=1_000_000, help="ask no more than this many")
    options = arguments.parse_args()

    paragraphs, questions = read(options.file)
    questions = questions[: options.questions]
    with tempfile.TemporaryDirectory() as temporary:
        gateway = Gateway(options, options.work or pathlib.Path(temporary))
        if options.only != "search":
            seconds = gateway.index(paragraphs)
            print(f"{len(paragraphs)} paragraphs indexed in {seconds:.1f} s")
        if options.only != "index":
            print(f"{len(questions)} questions")
            for ranking in options.rankings:
                report(ranking, gateway.ranks(questions, ranking))


def read(file):
    """The paragraphs, and each question with the number of its paragraph."""
    paragraphs, questions = [], []
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions += [(answer["question"], len(paragraphs)) for answer in paragraph["qas"]]
            paragraphs.append(paragraph["context"])
    return paragraphs, questions


class Gateway:
    def __init__(self, options, work):
        self.options = options
        self.folder = work / "paragraphs"
        self.environment = {**os.environ, "XDG_DATA_HOME": str(work / "data")}

    def run(self, *arguments):
        command = [self.options.bin]
        command += ["--config", str(self.options.config)] if self.options.config else []
        command += [arguments[0], "--collection", "xquad", "--json", *arguments[1:]]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=3600)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def index(self, paragraphs):
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, paragraph in enumerate(paragraphs):
            (self.folder / f"{number:04}.txt").write_text(paragraph, encoding="utf-8")
        started = time.monotonic()
        model = ["--model", self.options.model] if self.options.model else []
        self.run("index", str(self.folder), "--language", self.options.language, *model)
        return time.monotonic() - started

    def ranks(self, questions, ranking):
        """The place of each question's paragraph, counted from 1; none where it was not among ten."""

        def rank(question):
            text, wanted = question
            limit = str(CHUNKS_ASKED_FOR)
            answer = json.loads(self.run("search", "--ranking", ranking, "--limit", limit, "--", text))
            found = [int(pathlib.Path(result["source"]).stem) for result in answer["results"]]
            documents = list(dict.fromkeys(found))[:10]
            return documents.index(wanted) + 1 if wanted in documents else None

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(rank, questions))


def report(ranking, ranks):
    found = [rank for rank in ranks if rank]
    share = lambda count: count / len(ranks)
    first = share(sum(rank == 1 for rank in found))
    mean = share(sum(1 / rank for rank in found))
    print(f"{ranking:>7}  R@1 {first:.3f}  R@10 {share(len(found)):.3f}  MRR {mean:.3f}")


if __name__ == "__main__":
    main()
