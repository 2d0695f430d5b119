// The real openai-node against a gateway. Ends with 1 if anything is wrong.
// Usage: openai_node.mjs GATEWAY_URL MODEL UPSTREAM_URL [UPSTREAM_MODEL]

import OpenAI from "openai";

const TEXTS = [
  "Kelp grows up to half a metre a day.",
  "Su 100 derecede kaynar, dağda daha erken: İĞNE ile ığıl ığıl.",
  "日本語 🧪 é",
  "海带每天能长半米。찬물에서 자란다. เติบโตในน้ำเย็น",
  'line one\nline two\ttab "quoted" \\ backslash',
];

const [gateway, model, upstream, upstreamModel = model] = process.argv.slice(2);
if (!upstream || gateway === upstream) {
  console.error("usage: openai_node.mjs GATEWAY_URL MODEL UPSTREAM_URL [UPSTREAM_MODEL]");
  process.exit(2);
}

let failed = 0;
function check(name, held, detail = "") {
  if (!held) failed += 1;
  console.log(held ? `OK    openai-node: ${name}` : `FAIL  openai-node: ${name} ${detail}`);
}

function difference(got, want) {
  if (got.length !== want.length) return `${got.length} vectors for ${want.length} texts`;
  for (const [index, vector] of want.entries()) {
    if (got[index].length !== vector.length) {
      return `text ${index} has ${got[index].length} dimensions, not ${vector.length}`;
    }
    const close = (x, y) => Math.abs(x - y) <= 1e-6 + 1e-5 * Math.abs(y);
    if (!vector.every((number, at) => close(got[index][at], number))) return `text ${index} has another vector`;
  }
  return "";
}

function same(name, got, want) {
  const why = difference(got, want);
  check(name, why === "", why);
}

function shortened(vectors, n) {
  return vectors.map((vector) => {
    const norm = Math.hypot(...vector.slice(0, n));
    return vector.slice(0, n).map((number) => number / norm);
  });
}

// The vectors that the upstream gives when it is asked without a gateway.
async function asked(texts) {
  const body = JSON.stringify({ model: upstreamModel, input: texts });
  const answer = await fetch(`${upstream.replace(/\/$/, "")}/api/embed`, { method: "POST", body });
  return (await answer.json()).embeddings;
}

const want = await asked(TEXTS);

const client = new OpenAI({
  baseURL: `${gateway.replace(/\/$/, "")}/v1`,
  apiKey: "none",
  maxRetries: 0,
  timeout: 60_000,
});
const embed = (input, more = {}) => client.embeddings.create({ model, input, ...more });
const vectors = (answer) => answer.data.map((item) => item.embedding);

function decoded(base64) {
  const bytes = Buffer.from(base64, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
}

const answer = await embed(TEXTS);
same("a list in the default encoding", vectors(answer), want);
check("indexes are in order", answer.data.every((item, at) => item.index === at));
check("the model is echoed", answer.model === model, answer.model);
same("one text", vectors(await embed(TEXTS[0])), want.slice(0, 1));
same("a list as floats", vectors(await embed(TEXTS, { encoding_format: "float" })), want);
same("a list in base64, as text", vectors(await embed(TEXTS, { encoding_format: "base64" })).map(decoded), want);
same("fewer dimensions", vectors(await embed(TEXTS, { dimensions: 256 })), shortened(want, 256));
const many = Array.from({ length: 400 }, (_, number) => `number ${number} of many`);
same("many texts", vectors(await embed(many)), await asked(many));
same("many requests at once", await Promise.all(TEXTS.map(async (text) => vectors(await embed(text))[0])), want);
const listed = await client.models.list();
check("the model is listed", listed.data.some((one) => one.id === model));
check("the model is found", (await client.models.retrieve(model)).id === model);
try {
  await client.embeddings.create({ model: "no-such-model", input: "a" });
  check("an unknown model is not found", false, "nothing was thrown");
} catch (error) {
  check("an unknown model is not found", error instanceof OpenAI.NotFoundError && Boolean(error.requestID), `${error}`);
}
try {
  await embed(["a", ""]);
  check("an empty text is a bad request", false, "nothing was thrown");
} catch (error) {
  check("an empty text is a bad request", error instanceof OpenAI.BadRequestError && error.param === "input", `${error}`);
}
process.exit(failed ? 1 : 0);
