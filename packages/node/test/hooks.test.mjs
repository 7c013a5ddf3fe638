// Hooks: what a program puts around every call, in JavaScript, on its own event loop.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  CancelledError,
  ContentPolicyError,
  InvalidRequestError,
  LlmClient,
  LlmError,
  OverloadedError,
  PermissionError,
} from "@kreuzberg/liter-llm";
import { AT_ONCE, collect, failure, startMock, story, textOf } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock();
});
after(() => mock.stop());

const turn = () => new Promise((resolve) => setImmediate(resolve));
const answer = {
  id: "kept",
  object: "chat.completion",
  created: 1,
  model: "kept",
  choices: [{ index: 0, message: { role: "assistant", content: "from a shelf" }, finish_reason: "stop" }],
};

/** Runs a program as a process of its own. */
async function run(program, behaviour) {
  const prelude = `
    import { LlmClient } from "@kreuzberg/liter-llm";
    const options = { apiKey: "test-key-1234", baseUrl: process.env.MOCK + "/v1", headers: { "x-mock": process.env.BEHAVIOUR } };
    const story = { model: "openai/demo", messages: [{ role: "user", content: "Tell me a story" }] };`;
  const env = { ...process.env, MOCK: mock.url, BEHAVIOUR: behaviour };
  const args = ["--input-type=module", "-e", prelude + program];
  return promisify(execFile)(process.execPath, args, { env, cwd: import.meta.dirname, timeout: 20_000 });
}

test("each stage is told, in order, with what it is about; the end exactly once", async () => {
  const told = [];
  const hooks = {
    beforeRequest: (event) => void told.push(["beforeRequest", event]),
    afterHeaders: async (event) => {
      await turn();
      told.push(["afterHeaders", event]);
    },
    onChunks: (event) => void told.push(["onChunks", event]),
    onError: (event) => void told.push(["onError", event]),
    onEnd: (event) => void told.push(["onEnd", event]),
  };
  const client = mock.client("text=one two three; request_id=req-1", { hooks });
  const stream = await client.chatStream(story);
  assert.equal(textOf(await collect(stream)), "one two three");
  const names = told.map(([name]) => name);
  assert.deepEqual(names.slice(0, 2), ["beforeRequest", "afterHeaders"]);
  assert.ok(names.slice(2, -1).every((name) => name === "onChunks"));
  assert.equal(names.at(-1), "onEnd");
  for (const [, { call, attempt, provider, model, stream }] of told) {
    assert.deepEqual([call, attempt, provider, model, stream], [told[0][1].call, 1, "openai", "demo", true]);
  }
  const [, { request }] = told[0];
  assert.equal(request.messages[0].content, "Tell me a story");
  const [, head] = told[1];
  assert.equal(head.status, 200);
  assert.equal(head.requestId, "req-1");
  assert.match(head.headers["content-type"], /event-stream/);
  const chunks = told.filter(([name]) => name === "onChunks").flatMap(([, event]) => event.chunks);
  assert.equal(textOf(chunks), "one two three");
  const [, end] = told.at(-1);
  assert.equal(end.response.choices[0].message.content, "one two three");
  assert.equal(end.error, undefined);
  assert.ok(end.seconds > 0);
  assert.equal((await client.chat(story)).choices[0].message.content, "one two three");
  assert.equal(told.at(-1)[1].stream, false);
});

test("beforeRequest changes what is sent, hook after hook", async () => {
  const say = (content) => ({
    beforeRequest: async ({ request }) => {
      await turn();
      return { request: { ...request, messages: [...request.messages, { role: "user", content }] } };
    },
  });
  const client = mock.client("id=changed", { hooks: [say("first"), {}, say("second")] });
  await collect(await client.chatStream(story));
  const [{ body }] = await mock.log("changed");
  assert.deepEqual(
    body.messages.map(({ content }) => content),
    ["Tell me a story", "first", "second"],
  );
});

test("beforeRequest answers from elsewhere, whole and streamed, and nobody is asked", async () => {
  const client = mock.client("id=unasked", { hooks: { beforeRequest: () => ({ response: answer }) } });
  assert.equal((await client.chat(story)).choices[0].message.content, "from a shelf");
  const stream = await client.chatStream(story);
  assert.equal(textOf(await collect(stream)), "from a shelf");
  assert.equal((await stream.finalResponse()).choices[0].message.content, "from a shelf");
  assert.deepEqual(await mock.log("unasked"), []);
});

test("a hook refuses by an error, by an exception, and by an error of the engine's classes", async () => {
  const refused = (beforeRequest) => failure(mock.client("id=refused", { hooks: { beforeRequest } }).chatStream(story));
  const said = await refused(() => ({ error: { kind: "content_policy", message: "not that" } }));
  assert.ok(said instanceof ContentPolicyError);
  assert.match(said.message, /not that/);
  const thrown = await refused(() => {
    throw new Error("no access");
  });
  assert.ok(thrown instanceof PermissionError);
  assert.match(thrown.message, /no access/);
  const overloaded = await failure(mock.client("status=503").chat(story));
  const again = await refused(async () => {
    await turn();
    throw overloaded;
  });
  assert.ok(again instanceof OverloadedError);
  assert.deepEqual(await mock.log("refused"), []);
});

test("a model that a hook refuses is followed by the next of the list", async () => {
  const hooks = {
    beforeRequest: ({ model }) => {
      if (model.startsWith("first")) throw new Error("not this one");
    },
  };
  const request = { ...story, model: ["openai/first", "openai/second"] };
  const chunks = await collect(await mock.client("text=one two", { hooks }).chatStream(request));
  assert.equal(textOf(chunks), "one two");
  assert.equal(chunks.find((chunk) => chunk.literllm).literllm.reason, "permission");
});

test("afterHeaders refuses, and the connection is closed", async () => {
  const hooks = { afterHeaders: ({ status }) => ({ error: { kind: "server", message: `I do not like ${status}` } }) };
  const client = mock.client("id=unliked; text=one; stall=1", { hooks });
  assert.match((await failure(client.chatStream(story))).message, /I do not like 200/);
  await mock.wait("unliked", "left");
});

test("onChunks changes and leaves out, and the final response says what was shown", async () => {
  const hooks = {
    onChunks: async ({ chunks }) => {
      await turn();
      for (const { choices } of chunks) {
        for (const { delta } of choices) if (delta.content) delta.content = delta.content.toUpperCase();
      }
      return { chunks: chunks.filter((chunk) => !chunk.choices[0]?.delta.content?.includes("TWO")) };
    },
  };
  const stream = await mock.client("text=one two three; pace=2", { hooks }).chatStream(story);
  assert.equal(textOf(await collect(stream)), "ONE THREE");
  assert.equal((await stream.finalResponse()).choices[0].message.content, "ONE THREE");
  const whole = await mock.client("text=one three", { hooks }).chat(story);
  assert.equal(whole.choices[0].message.content, "ONE THREE");
});

test("onChunks ends a stream, and its connection is closed", async () => {
  const hooks = {
    onChunks: ({ chunks }) => {
      if (textOf(chunks).includes("two")) return { error: { kind: "content_policy", message: "enough" } };
    },
  };
  const client = mock.client("id=enough; text=one two three; withhold=2; stall=4", { hooks });
  const stream = await client.chatStream(story);
  const reading = failure(collect(stream));
  await mock.release("enough", "all");
  const error = await reading;
  assert.ok(error instanceof ContentPolicyError);
  assert.equal(error.partial.choices[0].message.content, "one");
  await mock.wait("enough", "left");
});

test("onError sees the engine's error, changes it, or answers", async () => {
  let seen;
  const change = {
    onError: ({ error }) => {
      seen = error;
      return { error: { kind: "content_policy", message: "something else" } };
    },
  };
  const changed = await failure(mock.client("status=503; retry_after=2", { hooks: change }).chatStream(story));
  assert.ok(seen instanceof OverloadedError);
  assert.equal(seen.status, 503);
  assert.equal(seen.retryAfter, 2000);
  assert.ok(changed instanceof ContentPolicyError);
  assert.match(changed.message, /something else/);
  const help = { onError: async () => ({ response: answer }) };
  const chunks = await collect(await mock.client("status=503", { hooks: help }).chatStream(story));
  assert.equal(textOf(chunks), "from a shelf");
});

test("what a function threw is the cause of the error, also of one model of a list", async () => {
  const thrown = [new Error("mine"), { code: 7 }, new OverloadedError({ kind: "overloaded", message: "mine" })];
  for (const stage of ["beforeRequest", "afterHeaders", "onChunks", "onError"]) {
    const behaviour = stage === "onError" ? "status=500" : "text=one";
    for (const what of thrown) {
      const refuse = () => {
        throw what;
      };
      for (const hook of [refuse, async () => refuse()]) {
        const client = mock.client(behaviour, { hooks: { [stage]: hook }, cooldown: 0 });
        assert.equal((await failure(client.chat(story))).cause, what);
        assert.equal((await failure(client.chatStream(story).then(collect))).cause, what);
        const list = { ...story, model: ["openai/one", "openai/two"] };
        const { causes, cause } = await failure(client.chatStream(list).then(collect));
        // A chunk that is refused ends the call: nobody else is asked.
        assert.deepEqual(causes.length > 0 ? causes.map((error) => error.cause) : [cause, cause], [what, what]);
      }
    }
  }
});

test("what a function threw is kept no longer than the error", async () => {
  const MANY = 50;
  let collected = 0;
  let thrown = 0;
  const registry = new FinalizationRegistry(() => collected++);
  const hooks = {
    beforeRequest() {
      const error = new Error("mine");
      // All of the first ones are to go, however many follow.
      if (thrown++ < MANY) registry.register(error);
      throw error;
    },
  };
  const client = mock.client("", { hooks });
  for (let n = 0; n < MANY; n++) await failure(client.chat(story));
  while (collected < MANY) {
    // It has those before it let go, of which the engine may have dropped the last one a moment late.
    await failure(client.chat(story));
    global.gc();
    await turn();
  }
});

test("onEnd is told once, however the stream is left", async () => {
  const ends = [];
  const client = mock.client("text=one two three; stall=3", { hooks: { onEnd: (end) => void ends.push(end) } });
  const broken = await client.chatStream(story);
  for await (const _ of broken) break;
  const aborted = await client.chatStream(story);
  await aborted.next();
  aborted.abort();
  const signalled = new AbortController();
  const reading = failure(collect(await client.chatStream(story, { signal: signalled.signal })));
  signalled.abort();
  assert.ok((await reading) instanceof CancelledError);
  await (await client.chatStream(story))[Symbol.asyncDispose]();
  const failing = mock.client("text=one two; cut=2", { hooks: { onEnd: (end) => void ends.push(end) } });
  const error = await failure(collect(await failing.chatStream(story)));
  await broken.finalResponse().catch(() => {});
  await aborted.finalResponse().catch(() => {});
  assert.deepEqual(ends.map((end) => end.error.kind).sort(), [...Array(4).fill("cancelled"), "truncated"]);
  assert.ok(ends.every((end) => end.error instanceof LlmError));
  assert.equal(error.kind, "truncated");
});

test("onEnd is told of a whole answer, and of one that is given up", async () => {
  const ends = [];
  let told;
  const hooks = {
    onEnd: (end) => {
      ends.push(end);
      told?.();
    },
  };
  await mock.client("text=one", { hooks }).chat(story);
  assert.deepEqual([ends[0].stream, ends[0].error], [false, undefined]);
  const given = new AbortController();
  const call = failure(mock.client("id=given; headers_after=60000", { hooks }).chat(story, { signal: given.signal }));
  await mock.wait("given", "request");
  const end = new Promise((resolve) => {
    told = resolve;
  });
  given.abort();
  assert.ok((await call) instanceof CancelledError);
  // Nothing else keeps this process alive for a hook.
  const staying = setInterval(() => {}, 1000);
  await end;
  clearInterval(staying);
  assert.equal(ends[1].error.kind, "cancelled");
  assert.equal(ends.length, 2);
});

test("what cannot be used as an answer is an error that names the stage", async () => {
  const hooks = { onChunks: () => ({ request: story }) };
  const error = await failure(mock.client("text=one", { hooks }).chatStream(story).then(collect));
  assert.ok(error instanceof InvalidRequestError);
  assert.match(error.message, /on_chunks/);
});

test("a plain for throws at once, rather than keep its hooks from running", async () => {
  const stream = await mock.client("text=one two", { hooks: { onChunks() {} } }).chatStream(story);
  const began = performance.now();
  assert.throws(() => {
    for (const _ of stream);
  }, /for await/);
  assert.ok(performance.now() - began < AT_ONCE);
  assert.equal(textOf(await collect(stream)), "one two");
  for (const chunk of await mock.client("text=one", { hooks: [] }).chatStream(story)) assert.ok(chunk);
});

test("hooks keep no process alive, but the end of a stream that is left is told before it exits", async () => {
  const hooks = "{ beforeRequest() {}, onChunks() {}, onEnd: async ({ error }) => console.log('ended', error?.kind) }";
  const idle = await run(`const client = new LlmClient({ ...options, hooks: ${hooks} }); console.log("idle");`, "");
  assert.equal(idle.stdout, "idle\n");
  const left = await run(
    `const client = new LlmClient({ ...options, hooks: ${hooks} });
     for await (const _ of await client.chatStream(story)) break;`,
    "text=one two; stall=2",
  );
  assert.equal(left.stdout, "ended cancelled\n");
  const unread = await run(
    `const client = new LlmClient({ ...options, hooks: ${hooks} }); await client.chatStream(story); console.log("left");`,
    "text=one two; stall=2",
  );
  assert.equal(unread.stdout, "left\n");
});

test("an exception in onEnd is a warning of the process", async () => {
  const { stdout, stderr } = await run(
    `const client = new LlmClient({ ...options, hooks: { onEnd() { throw new Error("mine"); } } });
     for await (const _ of await client.chatStream(story)); console.log("over");`,
    "text=one two",
  );
  assert.equal(stdout, "over\n");
  assert.match(stderr, /Error: mine/);
});

test("worker threads run their own hooks, and end while one is asked", async () => {
  const program = `
    const { workerData, parentPort, threadId } = require("node:worker_threads");
    const { LlmClient } = require("@kreuzberg/liter-llm");
    const hooks = { onChunks: ({ chunks }) => ({ chunks: chunks.map((chunk) => ({ ...chunk, service_tier: "worker" })) }) };
    (async () => {
      const client = new LlmClient({ ...workerData.options, hooks });
      for await (const chunk of await client.chatStream(workerData.story)) if (chunk.service_tier !== "worker") throw new Error("not mine");
      const stuck = new LlmClient({ ...workerData.options, hooks: { beforeRequest: () => { parentPort.postMessage("asked"); return new Promise(() => {}); } } });
      setInterval(() => {}, 1000);
      await stuck.chatStream(workerData.story);
    })();`;
  const work = async () => {
    const options = { apiKey: "k", baseUrl: `${mock.url}/v1`, headers: { "x-mock": "text=one two three" } };
    const worker = new Worker(program, { eval: true, workerData: { options, story } });
    await new Promise((resolve, reject) => {
      worker.on("error", reject);
      worker.on("message", resolve);
    });
    await worker.terminate();
  };
  await Promise.all([work(), work()]);
});

test("a client with hooks is collected once nobody uses it", async () => {
  const collected = new Promise((resolve) => {
    const registry = new FinalizationRegistry(resolve);
    (() => registry.register(mock.client("", { hooks: { onChunks() {} } }), "client"))();
  });
  const collecting = setInterval(() => global.gc(), 10);
  assert.equal(await collected, "client");
  clearInterval(collecting);
});

test("a stream whose client was forgotten still has its hooks", async () => {
  const told = [];
  const stream = await mock
    .client("id=orphan; text=one two; withhold=1", { hooks: { onChunks: ({ chunks }) => void told.push(...chunks) } })
    .chatStream(story);
  for (let n = 0; n < 5; n++) {
    global.gc();
    await turn();
  }
  await mock.release("orphan", "all");
  assert.equal(textOf(await collect(stream)), "one two");
  assert.equal(textOf(told), "one two");
});

test("500 streams at once pass their own chunks through a hook", async () => {
  const hooks = {
    onChunks: async ({ chunks }) => {
      await turn();
      return { chunks };
    },
  };
  const client = mock.client("", { hooks });
  const texts = await Promise.all(
    Array.from({ length: 500 }, async (_, number) => {
      const options = { headers: { "x-mock": `text=${number} is mine; pace=2` } };
      return textOf(await collect(await client.chatStream(story, options)));
    }),
  );
  assert.deepEqual(
    texts,
    texts.map((_, number) => `${number} is mine`),
  );
});

test("a function that is no stage's, and a list that holds none, are as if they were not there", async () => {
  const client = new LlmClient({ apiKey: "k", baseUrl: `${mock.url}/mock/text=one/v1`, hooks: [{}] });
  assert.equal(textOf(await collect(await client.chatStream(story))), "one");
});
