// The tables that every language runs: the conformance cases and the faults, through Node.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LlmClient, LlmError } from "@kreuzberg/liter-llm";
import { cases, optionsOf, startMock, story, textOf } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock("--cases", cases);
});
after(() => mock.stop());

const json = (...path) => JSON.parse(readFileSync(join(...path), "utf8"));
const folders = (path) => readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());

/** Streams to the end, by `for await` or by a plain `for`. */
async function play(config, request, plain = false) {
  const chunks = [];
  let stream;
  try {
    stream = await new LlmClient(optionsOf(config)).chatStream(request);
  } catch (error) {
    return { chunks, error, when: "call" };
  }
  try {
    if (plain) for (const chunk of stream) chunks.push(chunk);
    else for await (const chunk of stream) chunks.push(chunk);
  } catch (error) {
    assert.deepEqual(await stream.next(), { done: true, value: undefined }, "nothing follows an error");
    return { chunks, error, when: "stream" };
  }
  return { chunks, error: null, when: null };
}

describe("conformance", () => {
  for (const { name: provider } of folders(cases)) {
    for (const { name } of folders(join(cases, provider))) {
      if (!existsSync(join(cases, provider, name, "expected.json"))) continue;
      test(`${provider}/${name}`, async () => {
        const expected = json(cases, provider, name, "expected.json");
        const config = JSON.parse(
          readFileSync(join(cases, provider, "client.json"), "utf8").replaceAll("{MOCK}", mock.url),
        );
        config.headers = { ...config.headers, "x-mock": `case=${provider}/${name}` };
        config.max_retries = 0;
        const request = json(cases, provider, name, "request.json");
        for (const plain of [false, true]) {
          const { chunks, error } = await play(config, request, plain);
          const is = { chunks, error: error && { kind: error.kind } };
          assert.deepEqual(is, expected);
          assert.deepEqual(JSON.parse(JSON.stringify(chunks)), expected.chunks);
        }
      });
    }
  }
});

describe("faults", () => {
  for (const [number, row] of json(cases, "faults.json").entries()) {
    test(row.name, async () => {
      const id = `fault-${number}`;
      const config = {
        api_keys: { openai: "test-key-1234" },
        base_urls: { openai: `${mock.url}/v1` },
        headers: { "x-mock": `id=${id}; ${row.mock}` },
        max_retries: 0,
        ...row.config,
      };
      const { chunks, error, when } = await play(config, row.request ?? story);
      const { expect } = row;
      const text = textOf(chunks);
      assert.equal(error?.kind ?? null, expect.kind, error?.message);
      if (expect.text !== undefined) assert.equal(text, expect.text);
      if (expect.finish_reason !== undefined) {
        const reasons = chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter((reason) => reason != null);
        assert.deepEqual(reasons, [expect.finish_reason]);
      }
      if (error) {
        assert.ok(error instanceof LlmError);
        assert.equal(when, expect.when);
        assert.equal(error.partial !== undefined, expect.partial);
        if (error.partial) assert.equal(error.partial.choices[0]?.message.content ?? "", text);
        if (expect.status !== undefined) assert.equal(error.status, expect.status);
        if (expect.retry_after !== undefined) assert.equal(error.retryAfter, expect.retry_after * 1000);
        assert.doesNotMatch(`${error.stack}`, /test-key-1234/);
      }
      if (expect.requests !== undefined) assert.equal((await mock.log(id)).length, expect.requests);
    });
  }
});
