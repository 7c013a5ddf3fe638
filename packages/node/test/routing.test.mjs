// What is configured around calls, judged by what the mock saw: kept answers, limits, several keys, a second model in time, the log.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { RateLimitedError, TimeoutError } from "@kreuzberg/liter-llm";
import { collect, failure, startMock, story, textOf } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock();
});
after(() => mock.stop());

const requests = async (id) => (await mock.log(id)).length;
const streamed = async (client, request = story, options) => {
  const stream = await client.chatStream(request, options);
  return { text: textOf(await collect(stream)), meta: (await stream.finalResponse()).literllm };
};

test("cache answers the same request again, streamed and whole, for as long as it is told", async () => {
  const client = mock.client("id=cached; text=one two", { cache: {} });
  assert.equal((await streamed(client)).meta.cached, undefined);
  const again = await streamed(client);
  assert.deepEqual([again.text, again.meta.cached], ["one two", true]);
  assert.equal((await client.chat(story)).literllm.cached, true);
  assert.equal((await client.chat({ ...story, temperature: 0.5 })).literllm.cached, undefined);
  assert.equal(await requests("cached"), 2);
  // A lifetime in milliseconds: this one is over before the next call is asked.
  const brief = mock.client("id=brief; text=one", { cache: { maxEntries: 10, ttl: 0.001 } });
  for (let n = 0; n < 2; n++) await brief.chat(story);
  assert.equal(await requests("brief"), 2);
});

test("calls that want the same at once are asked for once", async () => {
  const client = mock.client("id=flight; text=one two; withhold=0", { cache: {} });
  const calls = Array.from({ length: 4 }, () => client.chat(story));
  await mock.wait("flight", "request");
  await mock.release("flight", "all");
  const cached = (await Promise.all(calls)).filter((answer) => answer.literllm.cached);
  assert.equal(cached.length, 3);
  assert.equal(await requests("flight"), 1);
});

test("limits hold calls back, and the deadline ends their wait", async () => {
  const client = mock.client("id=limited; text=one", { limits: [{ provider: "openai", requestsPerMinute: 2 }] });
  for (let n = 0; n < 2; n++) await client.chat(story);
  const error = await failure(client.chat(story, { timeout: 50 }));
  assert.ok(error instanceof TimeoutError);
  assert.match(error.message, /limits/);
  assert.equal(await requests("limited"), 2);
});

test("no more than `concurrency` streams are open at once", async () => {
  const limits = [{ provider: "openai", model: "demo", concurrency: 1 }];
  const client = mock.client("id=narrow; text=one two; stall=2; fail_times=1", { limits });
  const first = await client.chatStream(story);
  assert.ok((await failure(client.chatStream(story, { timeout: 50 }))) instanceof TimeoutError);
  const waiting = streamed(client);
  assert.equal(await requests("narrow"), 1);
  first.abort();
  assert.equal((await waiting).text, "one two");
  assert.equal(await requests("narrow"), 2);
});

test("keys of a pool take turns, and one that is refused rests", async () => {
  const apiKey = undefined;
  const keyPools = { openai: ["key-of-one-1111", "key-of-two-2222"] };
  const keysOf = async (id) =>
    (await mock.log(id)).map(({ headers }) => headers.find(([name]) => name === "authorization")[1].slice(-4));
  const turns = mock.client("id=turns; text=one", { apiKey, keyPools, provider: "openai" });
  for (let n = 0; n < 3; n++) await turns.chat(story);
  assert.deepEqual(await keysOf("turns"), ["1111", "2222", "1111"]);
  const refused = mock.client("id=rests; text=one; expect_key=key-of-two-2222", { apiKey, keyPools });
  for (let n = 0; n < 2; n++) assert.equal((await streamed(refused)).text, "one");
  assert.deepEqual(await keysOf("rests"), ["1111", "2222", "2222"]);
  const limited = mock.client("status=429", { apiKey, keyPools });
  const error = await failure(limited.chat(story));
  assert.ok(error instanceof RateLimitedError);
  assert.doesNotMatch(`${error.stack}`, /key-of/);
});

test("hedgeAfter asks a second model when the first token is late, and closes the loser's connection", async () => {
  const client = mock.client("", { hedgeAfter: 50 });
  const model = ["openai/slow?text=slow&ttft=60000&id=loser", "openai/spare?text=spare"];
  const { text, meta } = await streamed(client, { ...story, model });
  assert.equal(text, "spare");
  await mock.wait("loser", "left");
  assert.deepEqual(
    meta.attempts.map(({ error }) => error),
    ["cancelled", undefined],
  );
});

test("logCalls writes a line a call to the engine's log, and a plain for still works", async () => {
  const program = `
    import { LlmClient } from "@kreuzberg/liter-llm";
    const client = new LlmClient({ apiKey: "test-key-1234", baseUrl: process.env.MOCK, logCalls: true });
    const story = { model: "openai/demo", messages: [{ role: "user", content: "Tell me a story" }] };
    for (const _ of await client.chatStream(story));
    await client.chat(story);`;
  const env = { ...process.env, MOCK: `${mock.url}/mock/text=one,usage=7%2C3/v1`, LITERLLM_LOG: "info" };
  const args = ["--input-type=module", "-e", program];
  const { stderr } = await promisify(execFile)(process.execPath, args, {
    env,
    cwd: import.meta.dirname,
    timeout: 20_000,
  });
  const lines = stderr.split("\n").filter((line) => line.includes("ending="));
  assert.equal(lines.length, 2, stderr);
  for (const line of lines) assert.match(line, /prompt_tokens.*=.*7.*completion_tokens.*=.*3/);
  assert.doesNotMatch(stderr, /test-key|Tell me/);
});
