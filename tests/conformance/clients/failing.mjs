// What openai-node makes of errors, repeating requests as it does by default.
// Usage: failing.mjs GATEWAY_URL CASE…, where a case is MODEL or MODEL=TEXT.
// Prints a line for each case: the exception's class and its status, or `fine`.

import OpenAI from "openai";

const [gateway, ...cases] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: "none" });
for (const one of cases) {
  const [model, text = "kelp"] = one.split("=");
  try {
    await client.embeddings.create({ model, input: text });
    console.log("fine");
  } catch (error) {
    console.log("openai", error.constructor.name, error.status);
  }
}
