// Answers that survive: the recovery table that every language runs, through Node, and what a fallback tells its reader.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { AllFailedError, CancelledError, LlmClient } from "@kreuzberg/liter-llm";
import { AT_ONCE, cases, collect, failure, optionsOf, startMock, textOf } from "./harness.mjs";

const TEXT = "one two three four five six seven eight nine ten eleven twelve";

let mock;
let secure;
before(async () => {
  [mock, secure] = await Promise.all([startMock(), startMock("--tls")]);
});
after(() => {
  mock.stop();
  secure.stop();
});

function clientFor(config = {}) {
  const nowhere = ["refused", "unknown_host", "untrusted"].map((name) => ({ name, base_url: "" }));
  return new LlmClient(
    optionsOf({
      api_keys: { openai: "test-key" },
      base_urls: {
        openai: `${mock.url}/v1`,
        refused: "http://127.0.0.1:9/v1",
        unknown_host: "http://no-such-host.invalid/v1",
        untrusted: `${secure.url}/v1`,
      },
      hosts: [
        ...nowhere,
        { name: "no_key", base_url: "http://127.0.0.1:9/v1", key_vars: ["LITERLLM_TEST_NO_SUCH_KEY"] },
      ],
      cooldown: 0,
      ...config,
    }),
  );
}

/** A route as the mock's log names its requests. */
const idOf = (row, number) => `row-${row}-${number}`;

/** A route of the table as a model's name. */
function modelOf(route, number = 0, row = undefined) {
  if (route === "@unknown_provider") return "nowhere/demo";
  if (route.startsWith("@")) return `${route.slice(1)}/demo`;
  const id = row === undefined ? "" : `&id=${idOf(row, number)}`;
  return `openai/demo-${number}?${route.replaceAll("{T}", encodeURIComponent(TEXT))}${id}`;
}

function requestOf(routes, mode, format, row) {
  const model = routes.map((route, number) => modelOf(route, number, row));
  const request = { model, messages: [{ role: "user", content: "Count" }] };
  if (mode) request.stream_fallback_mode = mode;
  if (format) request.response_format = { type: format };
  return request;
}

async function ask(client, request, options) {
  const chunks = [];
  try {
    const stream = await client.chatStream(request, options);
    for await (const chunk of stream) chunks.push(chunk);
    return { chunks, answer: await stream.finalResponse() };
  } catch (error) {
    return { chunks, error };
  }
}

/** What a reader that minds resets has in the end. */
function shown(chunks) {
  const begun = chunks.findLastIndex((chunk) => chunk.literllm?.event === "reset");
  return textOf(chunks.slice(Math.max(begun, 0)));
}

function check(expect, { chunks, answer, error }) {
  assert.equal(error?.kind, expect.kind, error?.message);
  if (error) {
    const causes = error.causes.map((cause) => cause.kind);
    if (expect.causes) assert.deepEqual(causes, expect.causes);
    if (expect.partial !== undefined) assert.equal(error.partial?.choices[0].message.content, expect.partial);
    if (expect.partial_tools !== undefined) {
      assert.equal(error.partial?.choices[0].message.tool_calls?.length, expect.partial_tools);
    }
    return;
  }
  const { message } = answer.choices[0];
  const text = (expect.text ?? "").replace("{T}", TEXT);
  assert.equal(shown(chunks), text);
  assert.equal(message.content ?? "", text);
  if (expect.tools) {
    const calls = (message.tool_calls ?? []).map((call) => call.function.arguments);
    assert.deepEqual(calls, expect.tools);
  }
  const last = chunks.findLast((chunk) => chunk.literllm)?.literllm;
  for (const name of ["event", "reason", "mode", "kept"]) {
    if (expect[name] !== undefined) assert.equal(last?.[name], expect[name], name);
  }
  if (expect.legs !== undefined) assert.equal(answer.literllm.attempts.length, expect.legs);
  // Whatever happened, the stream is one.
  for (const { id, model, created } of chunks) {
    assert.deepEqual([id, model, created], [chunks[0].id, chunks[0].model, chunks[0].created]);
  }
  const choices = chunks.flatMap((chunk) => chunk.choices);
  assert.equal(choices.filter((choice) => choice.delta.role !== undefined).length, 1, "one role chunk");
  assert.equal(choices.filter((choice) => choice.finish_reason !== null).length, 1, "one finish chunk");
}

/** Cancels when the route with the number `last` has answered; those after it are never asked. */
async function askAndCancel(client, request, row, last) {
  const left = new AbortController();
  const asked = ask(client, request, { signal: left.signal });
  await mock.wait(idOf(row, last), "done");
  const since = performance.now();
  left.abort();
  const outcome = await asked;
  assert.ok(performance.now() - since < AT_ONCE, "it ends at once");
  assert.ok(outcome.error instanceof CancelledError);
  for (const number of request.model.keys()) {
    const seen = await mock.log(idOf(row, number));
    assert.equal(seen.length, number <= last ? 1 : 0, "the mock sees no other request");
    for (const request of seen) assert.notEqual(request.outcome, "open");
  }
  return outcome;
}

test("failures end as the recovery table says", async (t) => {
  const table = JSON.parse(readFileSync(join(cases, "recovery.json"), "utf8"));
  let wrong = 0;
  for (const [row, { name, models, mode, format, config, cancel_after: last, expect }] of table.entries()) {
    await t.test(name, async () => {
      const client = clientFor(config);
      const request = requestOf(models, mode, format, row);
      let said = "ok";
      try {
        check(expect, await (last === undefined ? ask(client, request) : askAndCancel(client, request, row, last)));
      } catch (error) {
        wrong++;
        said = "wrong";
        throw error;
      } finally {
        console.log(`row: node|${said}|${name}`);
      }
    });
  }
  console.log(`table: recovery, ${table.length} scenarios through node, ${wrong} wrong`);
});

test("a leg that goes on says who failed and why, and the answer lists both attempts", async () => {
  const routes = ["text={T}&cut=4&usage=5,3", "text={T}&continue=1&usage=9,9"];
  const { chunks, answer } = await ask(clientFor(), requestOf(routes));
  const [event] = chunks.filter((chunk) => chunk.literllm).map((chunk) => chunk.literllm);
  assert.equal(event.attempt, 2);
  assert.equal(event.provider, "openai");
  assert.deepEqual(
    event.failed.map(({ provider, kind }) => [provider, kind]),
    [["openai", "truncated"]],
  );
  const [cut, whole] = answer.literllm.attempts;
  assert.equal(cut.error, "truncated");
  assert.equal(cut.characters, "one two three".length);
  assert.equal(whole.error, undefined);
  assert.equal(whole.characters, TEXT.length - "one two three".length);
  assert.equal(whole.usage.completion_tokens, 9);
});

test("the client's streamFallbackMode holds for its calls, and the request's own goes before", async () => {
  const client = clientFor({ stream_fallback_mode: "off" });
  const routes = ["text={T}&cut=4", "text={T}&continue=1"];
  const off = await ask(client, requestOf(routes));
  assert.equal(off.error?.kind, "truncated");
  const { answer } = await ask(client, requestOf(routes, "user_turn"));
  assert.equal(answer.choices[0].message.content, TEXT);
});

test("whole answers fall back too, and say with every cause when all fail", async () => {
  const client = clientFor();
  const answer = await client.chat(requestOf(["status=503", "text={T}"]));
  assert.equal(answer.choices[0].message.content, TEXT);
  assert.equal(answer.literllm.attempts.length, 2);
  const error = await failure(client.chat(requestOf(["status=503", "@no_key"])));
  assert.ok(error instanceof AllFailedError);
  assert.deepEqual(
    error.causes.map((cause) => cause.kind),
    ["overloaded", "authentication"],
  );
  assert.equal(error.cause, error.causes.at(-1));
});

test("weights and a sticky key choose the order of a list", async () => {
  const client = clientFor();
  const request = requestOf(["id=weighed-a&text=a", "id=weighed-b&text=b"]);
  const said = async (options) => textOf(await collect(await client.chatStream(request, options)));
  assert.equal(await said({ modelWeights: [0, 1] }), "b");
  assert.equal(await said({ modelWeights: [1, 0] }), "a");
  const options = { modelWeights: [1, 1], stickyKey: "someone" };
  const sticky = await said(options);
  for (let n = 0; n < 8; n++) assert.equal(await said(options), sticky);
});
