#!/usr/bin/env node
// The official SDKs of JavaScript, openai and @anthropic-ai/sdk, against one provider behind the gateway.
//
// The same ground as sdk.py, in fewer scenarios: these SDKs have accumulators, parsers and error classes of their own, and
// they are what many agents are built on. Each scenario is a sentence. The packages lie outside the repository, where
// `run` put them, so they are looked up from there.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: { url: { type: "string" }, dialect: { type: "string" }, direct: { type: "boolean", default: false }, only: { type: "string", default: "" } },
});
const lookUp = createRequire(`${process.env.CLIENTS_NPM}/package.json`);
const load = (name) => import(pathToFileURL(lookUp.resolve(name)).href);
const [{ default: OpenAI }, { default: Anthropic }, { z }, { zodResponseFormat, zodTextFormat }] = await Promise.all(
  ["openai", "@anthropic-ai/sdk", "zod", "openai/helpers/zod"].map(load));
const { zodOutputFormat } = await load("@anthropic-ai/sdk/helpers/zod");

const key = process.env.CLIENTS_KEY ?? "none-is-needed";
const openai = (more = {}) => new OpenAI({ baseURL: `${options.url}/v1`, apiKey: key, maxRetries: 0, timeout: 60_000, ...more });
const anthropic = (more = {}) => new Anthropic({ baseURL: options.url, apiKey: key, maxRetries: 0, timeout: 60_000, ...more });

const local = options.dialect === "local"; // the demo model is behind it, and otherwise script.py's words
const GREETING = "Hello from the scripted upstream: naïve, 日本 and 🦊.";
const [INPUT, CACHED, OUTPUT] = [120, 40, 17];
const Place = z.object({ city: z.string(), days: z.number().int() });
const PLACE = { city: "Lisbon", days: 7 };
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "get_weather", description: "Get the weather of a city" };
const tools = {
  chat: [{ type: "function", function: { ...weather, parameters: schema } }],
  responses: [{ type: "function", ...weather, parameters: schema, strict: false }],
  messages: [{ ...weather, input_schema: schema }],
};
// What the demo model says where nothing depends on chance; the script is what it is.
const steady = local ? { temperature: 0 } : {};
// The demo model, where no temperature is asked for, may count on.
const counted = (text) => assert.ok(text === "1 2 3 4 5" || (local && text.startsWith("1 ")), text);
const user = (content) => [{ role: "user", content }];

const scenarios = [];
const scenario = (api, name, run, { behind = () => true } = {}) => scenarios.push({ api, name, run, behind });
const scripted = { behind: () => !local };

scenario("chat", "text and usage are the script's", async () => {
  const answer = await openai().chat.completions.create({ model: "any", messages: user("hello") });
  assert.equal(answer.choices[0].message.content, GREETING);
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = answer.usage;
  assert.deepEqual([prompt_tokens, completion_tokens, prompt_tokens_details.cached_tokens], [INPUT, OUTPUT, CACHED]);
  assert.ok(answer._request_id);
}, scripted);

scenario("chat", "the stream helper puts a text together", async () => {
  const stream = openai().chat.completions.stream({ model: "any", messages: user("count to 5"), stream_options: { include_usage: true } });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalChatCompletion();
  counted(text);
  assert.equal(final.choices[0].message.content, text);
  assert.ok(final.usage.total_tokens > 0);
});

scenario("chat", "the stream helper keeps parallel calls apart", async () => {
  const stream = openai().chat.completions.stream({ model: "any", ...steady, messages: user("weather in Lisbon and Oslo"), tools: tools.chat });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments)), [{ city: "Lisbon" }, { city: "Oslo" }]);
}, scripted);

scenario("chat", "the tool runner plays a whole conversation", async () => {
  const asked = [];
  const runner = openai().chat.completions.runTools({
    model: "any", ...steady, messages: user("What is the weather in Lisbon?"),
    tools: [{ type: "function", function: { ...weather, parameters: schema, parse: JSON.parse, function: ({ city }) => (asked.push(city), "18 degrees and rain") } }],
  });
  const text = await runner.finalContent();
  assert.deepEqual(asked, ["Lisbon"]);
  assert.ok(text.includes("18 degrees and rain"), text);
});

scenario("chat", "a structured answer is parsed", async () => {
  const answer = await openai().chat.completions.parse({ model: "any", messages: user("Where?"), response_format: zodResponseFormat(Place, "place") });
  assert.deepEqual(answer.choices[0].message.parsed, PLACE);
}, scripted);

scenario("chat", "embeddings come in the order of their texts", async () => {
  const input = ["one", "two", "three"];
  const [packed, plain] = await Promise.all([openai().embeddings.create({ model: "any", input }), openai().embeddings.create({ model: "any", input, encoding_format: "float" })]);
  assert.deepEqual(packed.data.map((row) => Array.from(row.embedding)), plain.data.map((row) => row.embedding));
  assert.deepEqual(packed.data.map((row) => row.index), [0, 1, 2]);
}, { behind: () => ["chat", "responses"].includes(options.dialect) });

scenario("responses", "the stream helper accumulates a response", async () => {
  const stream = openai().responses.stream({ model: "any", input: "count to 5", store: false });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  counted((await stream.finalResponse()).output_text);
  assert.deepEqual([kinds[0], kinds.at(-1)], ["response.created", "response.completed"]);
});

scenario("responses", "calls and their results go round", async () => {
  const input = user("What is the weather in Lisbon?");
  const first = await openai().responses.create({ model: "any", ...steady, input, tools: tools.responses, store: false });
  const call = first.output.find((item) => item.type === "function_call");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Lisbon" });
  const result = { type: "function_call_output", call_id: call.call_id, output: "18 degrees and rain" };
  const second = await openai().responses.create({ model: "any", ...steady, input: [...input, ...first.output, result], tools: tools.responses, store: false });
  assert.ok(second.output_text.includes("18 degrees and rain"), second.output_text);
  assert.ok(second.usage.total_tokens > 0);
});

scenario("responses", "a structured answer is parsed", async () => {
  const answer = await openai().responses.parse({ model: "any", input: "Where?", text: { format: zodTextFormat(Place, "place") }, store: false });
  assert.deepEqual(answer.output_parsed, PLACE);
}, scripted);

scenario("messages", "text and usage are the script's", async () => {
  const answer = await anthropic().messages.create({ model: "any", max_tokens: 64, messages: user("hello") });
  assert.equal(answer.content[0].text, GREETING);
  const { input_tokens, cache_read_input_tokens, output_tokens } = answer.usage;
  assert.deepEqual([input_tokens, cache_read_input_tokens, output_tokens], [INPUT - CACHED, CACHED, OUTPUT]);
  assert.ok(answer._request_id);
}, scripted);

scenario("messages", "the stream helper puts a text together", async () => {
  const stream = anthropic().messages.stream({ model: "any", max_tokens: 64, ...steady, messages: user("count to 5") });
  let text = "";
  stream.on("text", (delta) => (text += delta));
  const final = await stream.finalMessage();
  counted(text);
  assert.equal(await stream.finalText(), text);
  assert.equal(final.stop_reason, "end_turn");
});

scenario("messages", "calls and their results go round, streamed", async () => {
  const messages = user("What is the weather in Lisbon?");
  const ask = (more) => anthropic().messages.stream({ model: "any", max_tokens: 128, ...steady, tools: tools.messages, messages: [...messages, ...more] }).finalMessage();
  const first = await ask([]);
  const call = first.content.find((block) => block.type === "tool_use");
  assert.deepEqual(call.input, { city: "Lisbon" });
  const result = [{ type: "tool_result", tool_use_id: call.id, content: "18 degrees and rain" }];
  const second = await ask([{ role: "assistant", content: first.content }, { role: "user", content: result }]);
  assert.ok(second.content[0].text.includes("18 degrees and rain"), second.content[0].text);
});

scenario("messages", "a structured answer is parsed", async () => {
  const answer = await anthropic().messages.parse({ model: "any", max_tokens: 64, messages: user("Where?"), output_config: { format: zodOutputFormat(Place) } });
  assert.deepEqual(answer.parsed_output, PLACE);
}, scripted);

scenario("messages", "tokens are counted", async () => {
  const count = await anthropic().messages.countTokens({ model: "any", messages: user("hello") });
  assert.ok(count.input_tokens > 0);
});

const asks = {
  chat: (text, more) => openai(more).chat.completions.create({ model: "any", messages: user(text) }),
  responses: (text, more) => openai(more).responses.create({ model: "any", input: text, store: false }),
  messages: (text, more) => anthropic(more).messages.create({ model: "any", max_tokens: 64, messages: user(text) }),
};

for (const [api, ask] of Object.entries(asks)) {
  const errors = api === "messages" ? Anthropic : OpenAI;
  scenario(api, "errors have the class of their status", async () => {
    const classes = { 400: errors.BadRequestError, 404: errors.NotFoundError, 429: errors.RateLimitError, 500: errors.InternalServerError };
    for (const [status, kind] of Object.entries(classes)) {
      await assert.rejects(ask(`fail with ${status}`), (error) => error instanceof kind && error.status === Number(status) && Boolean(error.requestID));
    }
  }, scripted);
  scenario(api, "a refused call succeeds when the SDK tries again", async () => {
    await ask(`fail once ${crypto.randomUUID()}`, { maxRetries: 2 });
  }, scripted);
  scenario(api, "an illegal request is refused", async () => {
    const wrong = {
      chat: () => openai().chat.completions.create({ model: "any", messages: [{ role: "nobody", content: "x" }] }),
      responses: () => openai().responses.create({ model: "any", input: [{ role: "nobody", content: "x" }] }),
      messages: () => anthropic().messages.create({ model: "any", max_tokens: 9, messages: [{ role: "nobody", content: "x" }] }),
    };
    await assert.rejects(wrong[api](), (error) => error instanceof errors.BadRequestError);
  });
}

const own = { vertex: "messages" }[options.dialect] ?? options.dialect;
let [count, failed] = [0, 0];
for (const { api, name, run, behind } of scenarios) {
  if ((options.direct && own !== api) || !behind() || !name.includes(options.only)) continue;
  count += 1;
  try {
    await run();
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${api}: ${name}\n       ${String(error.stack ?? error).split("\n").slice(0, 6).join("\n       ")}`);
  }
}
console.log(`       ${count - failed} of ${count} scenarios of the JavaScript SDKs hold behind ${options.dialect}`);
process.exit(failed ? 1 : 0);
