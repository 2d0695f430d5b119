"""A plugin of both roles: lower case without white space around it, and chunks of whole sentences."""

from componentize_py_types import Err
from wit_world.exports.chunker import Chunks
from wit_world.exports.lifecycle import Info
from wit_world.exports.preprocessor import Answer, Edit_Keep, Edit_Replace
from wit_world.imports import text
from wit_world.imports.text import Boundary
from wit_world.imports.types import Error_InvalidConfig, Error_Unsupported, OffsetUnit, Span


class Lifecycle:
    def start(self, config):
        for key, _ in config:
            raise Err(Error_InvalidConfig(f"`{key}` is unknown: there is nothing to configure"))
        return Info("plain", "1.0.0", "lower case, and chunks of whole sentences")


class Preprocessor:
    def process(self, ctx, docs):
        return Answer([edit(doc.text) for doc in docs], [])


class Chunker:
    def split(self, ctx, docs):
        return [Chunks(OffsetUnit.CODE_POINT, chunks(doc, ctx.max_tokens), [], []) for doc in range(len(docs))]


def edit(given):
    plain = given.strip().lower()
    return Edit_Keep() if plain == given else Edit_Replace(plain)


def chunks(doc, max_tokens):
    """Packs as many sentences into each chunk as have `max_tokens` together."""
    packed, start, end, tokens = [], 0, 0, 0
    for span, n in sentences(doc):
        if max_tokens < n:
            raise Err(Error_Unsupported(f"a sentence of {n} tokens, where a chunk may have {max_tokens}"))
        if max_tokens < tokens + n:
            packed.append(Span(start, end))
            start, tokens = span.start, 0
        end, tokens = span.end, tokens + n
    return packed + [Span(start, end)] if start < end else packed


def sentences(doc):
    """Spans with their tokens. The gateway finds and counts them: the text stays where it is."""
    ends = text.segment(doc, Boundary.SENTENCE, OffsetUnit.CODE_POINT)
    spans = [Span(start, end) for start, end in zip([0, *ends], ends)]
    return zip(spans, text.count_tokens(doc, OffsetUnit.CODE_POINT, spans))
