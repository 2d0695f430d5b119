// The real openai-node against a gateway. Ends with 1 if anything is wrong.
// Usage: openai_node.mjs GATEWAY_URL MODEL [REFERENCE_URL [REFERENCE_MODEL]]

import OpenAI from "openai";

const TEXTS = [
  "Kelp grows up to half a metre a day.",
  "Su 100 derecede kaynar, dağda daha erken.",
  "日本語 🧪 é",
  'line one\nline two\ttab "quoted" \\ backslash',
];

const [gateway, model, reference = gateway, referenceModel = model] = process.argv.slice(2);
if (!gateway || !model) {
  console.error("usage: openai_node.mjs GATEWAY_URL MODEL [REFERENCE_URL [REFERENCE_MODEL]]");
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

// The same texts without any client.
const raw = await fetch(`${reference.replace(/\/$/, "")}/api/embed`, {
  method: "POST",
  body: JSON.stringify({ model: referenceModel, input: TEXTS }),
});
const want = (await raw.json()).embeddings;

const client = new OpenAI({
  baseURL: `${gateway.replace(/\/$/, "")}/v1`,
  apiKey: "none",
  maxRetries: 0,
  timeout: 60_000,
});
const embed = (input, more = {}) => client.embeddings.create({ model, input, ...more });
const vectors = (answer) => answer.data.map((item) => item.embedding);

const answer = await embed(TEXTS);
same("a list in the default encoding", vectors(answer), want);
check("indexes are in order", answer.data.every((item, at) => item.index === at));
check("the model is echoed", answer.model === model, answer.model);
same("one text", vectors(await embed(TEXTS[0])), want.slice(0, 1));
same("a list as floats", vectors(await embed(TEXTS, { encoding_format: "float" })), want);
const listed = await client.models.list();
check("the model is listed", listed.data.some((one) => one.id === model));
check("the model is found", (await client.models.retrieve(model)).id === model);
try {
  await client.embeddings.create({ model: "no-such-model", input: "a" });
  check("an unknown model is not found", false, "nothing was thrown");
} catch (error) {
  check("an unknown model is not found", error instanceof OpenAI.NotFoundError && Boolean(error.requestID), `${error}`);
}
process.exit(failed ? 1 : 0);
