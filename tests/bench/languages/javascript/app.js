// A plugin of both roles: lower case without white space around it, and chunks of whole sentences.

import { countTokens, segment } from "embergate:plugin/text@0.1.0";

export const lifecycle = {
  start(config) {
    for (const [key] of config) {
      throw { tag: "invalid-config", val: `\`${key}\` is unknown: there is nothing to configure` };
    }
    return { name: "plain", version: "1.0.0", about: "lower case, and chunks of whole sentences" };
  },
};

export const preprocessor = {
  process(context, documents) {
    return { edits: documents.map((document) => edit(document.text)), notes: [] };
  },
};

export const chunker = {
  split(context, documents) {
    return documents.map((_, index) => ({
      unit: "utf16-unit",
      spans: chunks(index, context.maxTokens),
      omitted: [],
      notes: [],
    }));
  },
};

function edit(given) {
  const plain = given.trim().toLowerCase();
  return plain === given ? { tag: "keep" } : { tag: "replace", val: plain };
}

// Packs as many sentences into each chunk as have `maxTokens` together.
function chunks(document, maxTokens) {
  const packed = [];
  let [start, end, tokens] = [0, 0, 0];
  for (const { span, n } of sentences(document)) {
    if (maxTokens < n) {
      throw { tag: "unsupported", val: `a sentence of ${n} tokens, where a chunk may have ${maxTokens}` };
    }
    if (maxTokens < tokens + n) {
      packed.push({ start, end });
      [start, tokens] = [span.start, 0];
    }
    [end, tokens] = [span.end, tokens + n];
  }
  if (start < end) packed.push({ start, end });
  return packed;
}

// Spans with their tokens. The gateway finds and counts them: the text stays where it is.
function sentences(document) {
  const ends = [...segment(document, "sentence", "utf16-unit")];
  const spans = ends.map((end, index) => ({ start: index ? ends[index - 1] : 0, end }));
  const counts = countTokens(document, "utf16-unit", spans);
  return spans.map((span, index) => ({ span, n: counts[index] }));
}
