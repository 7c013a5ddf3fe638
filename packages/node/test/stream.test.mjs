// What a stream promises in JavaScript: live, either way of reading; closed however it is left; ended exactly once.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  AuthenticationError,
  CancelledError,
  ChatStream,
  InvalidRequestError,
  LlmClient,
  LlmError,
  RateLimitedError,
  TruncatedError,
} from "@kreuzberg/liter-llm";
import { AT_ONCE, collect, failure, startMock, story, textOf } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock();
});
after(() => mock.stop());

/** Runs a program as a process of its own. */
async function run(program, behaviour) {
  const env = { ...process.env, MOCK: mock.url, BEHAVIOUR: behaviour };
  return promisify(execFile)(process.execPath, ["--input-type=module", "-e", prelude + program], {
    env,
    cwd: import.meta.dirname,
    timeout: 20_000,
  });
}
const prelude = `
  import { LlmClient } from "@kreuzberg/liter-llm";
  const client = new LlmClient({ apiKey: "test-key-1234", baseUrl: process.env.MOCK + "/v1", headers: { "x-mock": process.env.BEHAVIOUR } });
  const story = { model: "openai/demo", messages: [{ role: "user", content: "Tell me a story" }] };
`;

/** Fails where the mock does not see the connection close soon. */
async function closes(id, since = performance.now()) {
  await mock.wait(id, "left");
  assert.ok(performance.now() - since < AT_ONCE, `${performance.now() - since} ms`);
}

test("each chunk is there before the next is sent", async () => {
  const stream = await mock.client("id=live; text=one two three four; withhold=1").chatStream(story);
  assert.equal((await stream.next()).value.choices[0].delta.role, "assistant");
  for (const word of ["one", " two", " three", " four"]) {
    await mock.release("live");
    assert.equal((await stream.next()).value.choices[0].delta.content, word);
  }
  await mock.release("live", "all");
  assert.equal((await stream.next()).value.choices[0].finish_reason, "stop");
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("a plain for reads each chunk before the next is sent", async () => {
  // It blocks its thread: another process lets the chunks go, one for each that was printed.
  const { stdout } = await run(
    `
    import { execFileSync } from "node:child_process";
    const release = () => execFileSync(process.execPath, ["-e", 'fetch(process.env.MOCK + "/_mock/release?id=plain&n=1", { method: "POST" })']);
    for (const chunk of await client.chatStream(story)) {
      console.log(JSON.stringify(chunk.choices[0].delta.content ?? null));
      release();
    }`,
    "id=plain; text=one two; withhold=1",
  );
  assert.deepEqual(stdout.trim().split("\n").map(JSON.parse), ["", "one", " two", null]);
});

test("waiting for a chunk never blocks the event loop", async () => {
  const stream = await mock.client("id=loop; text=one two; withhold=1").chatStream(story);
  let turns = 0;
  const ticking = setInterval(() => {
    // The chunks come only if the event loop turns while they are awaited.
    if (++turns === 20) mock.release("loop", "all");
  }, 1);
  assert.equal(textOf(await collect(stream)), "one two");
  clearInterval(ticking);
  assert.ok(turns >= 20);
});

test("chunks are plain objects, in OpenAI's order of fields", async () => {
  const chunks = await collect(await mock.client("text=one two three; reasoning=well; usage=1,2").chatStream(story));
  for (const chunk of chunks) {
    assert.equal(Object.getPrototypeOf(chunk), Object.prototype);
    assert.deepEqual({ ...chunk }, chunk);
    assert.deepEqual(structuredClone(chunk), chunk);
    assert.equal(chunk.id, chunks[0].id);
    assert.deepEqual(Object.keys(chunk).slice(0, 5), ["object", "id", "created", "model", "choices"]);
  }
  assert.ok(chunks.some((chunk) => chunk.choices[0]?.delta.reasoning_content));
});

test("break closes the connection", async () => {
  const stream = await mock.client("id=broken; text=one two three; stall=3").chatStream(story);
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  await closes("broken");
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("break out of a plain for closes the connection", async () => {
  for (const _ of await mock.client("id=broken-plain; text=one two three; stall=3").chatStream(story)) break;
  await closes("broken-plain");
});

test("an error thrown in the loop's body closes the connection and comes out", async () => {
  const stream = await mock.client("id=thrown; text=one two three; stall=3").chatStream(story);
  const mine = new Error("mine");
  const error = await failure(
    (async () => {
      for await (const _ of stream) throw mine;
    })(),
  );
  assert.equal(error, mine);
  await closes("thrown");
});

test("an uncaught error in the loop's body ends the process and closes the connection", async () => {
  const error = await failure(
    run(
      'for await (const _ of await client.chatStream(story)) throw new Error("mine");',
      "id=uncaught; text=one two; stall=2",
    ),
  );
  assert.match(error.stderr, /Error: mine/);
  await mock.wait("uncaught", "left");
});

test("abort() ends a wait with what had come", async () => {
  const stream = await mock.client("id=aborted; text=one two three; stall=3").chatStream(story);
  const reading = failure(collect(stream));
  await mock.wait("aborted", "chunks:3");
  await new Promise((resolve) => setImmediate(resolve));
  stream.abort();
  const error = await reading;
  assert.ok(error instanceof CancelledError && error instanceof LlmError);
  assert.equal(error.kind, "cancelled");
  assert.equal(error.name, "AbortError");
  assert.equal(error.partial.choices[0].message.role, "assistant");
  await closes("aborted");
  assert.equal(await failure(stream.finalResponse()), error);
});

test("an answer that has come and was not read is no whole one", async () => {
  for (let call = 0; call < 50; call++) {
    const stop = new AbortController();
    const stream = await mock.client("text=one two three").chatStream(story, { signal: stop.signal });
    await stream.next();
    stop.abort();
    const error = await failure(collect(stream));
    assert.ok(error instanceof CancelledError);
    assert.equal(error.partial.choices[0].message.role, "assistant");
    assert.equal((await stream.next()).done, true);
  }
});

test("a signal aborts before, during and after the first chunk", async () => {
  const reason = new Error("enough");
  const early = await failure(mock.client("").chatStream(story, { signal: AbortSignal.abort(reason) }));
  assert.ok(early instanceof CancelledError);
  assert.equal(early.cause, reason);

  for (const method of ["chatStream", "chat"]) {
    const starting = new AbortController();
    const call = failure(
      mock.client(`id=starting-${method}; headers_after=60000`)[method](story, { signal: starting.signal }),
    );
    await mock.wait(`starting-${method}`, "request");
    starting.abort(reason);
    const error = await call;
    assert.ok(error instanceof CancelledError);
    assert.equal(error.cause, reason);
    await closes(`starting-${method}`);
  }

  const running = new AbortController();
  const stream = await mock
    .client("id=running; text=one two three; stall=3")
    .chatStream(story, { signal: running.signal });
  const reading = failure(collect(stream));
  await mock.wait("running", "chunks:3");
  running.abort(reason);
  assert.equal((await reading).cause, reason);
  await closes("running");
});

test("await using closes the connection", async () => {
  const stream = await mock.client("id=used; text=one two three; stall=3").chatStream(story);
  await stream[Symbol.asyncDispose]();
  await closes("used");
});

test("a forgotten stream is collected and its connection closed", async () => {
  await (async () => {
    const stream = await mock.client("id=forgotten; text=one two three; stall=3").chatStream(story);
    await stream.next();
  })();
  const gone = mock.wait("forgotten", "left");
  const collecting = setInterval(() => global.gc(), 10);
  await gone;
  clearInterval(collecting);
});

test("a signal that outlives a forgotten stream does not hold it", async () => {
  const { signal } = new AbortController();
  await (async () => {
    await mock.client("id=signalled; text=one two three; stall=3").chatStream(story, { signal });
  })();
  const gone = mock.wait("signalled", "left");
  const collecting = setInterval(() => global.gc(), 10);
  await gone;
  clearInterval(collecting);
});

test("the final response adds the chunks up, whoever reads them", async () => {
  const behaviour = 'text=one two; tool=look:{"at":"sea"}; usage=3,4; finish=tool_calls';
  const unread = await (await mock.client(behaviour).chatStream(story)).finalResponse();
  const stream = await mock.client(behaviour).chatStream(story);
  const [chunks, response] = await Promise.all([collect(stream), stream.finalResponse()]);
  for (const answer of [unread, response]) {
    const [{ message, finish_reason }] = answer.choices;
    assert.equal(message.content, "one two");
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { at: "sea" });
    assert.equal(finish_reason, "tool_calls");
    assert.equal(answer.usage.total_tokens, 7);
    assert.equal(answer.literllm.provider, "openai");
  }
  assert.equal(textOf(chunks), "one two");
});

test("the final response of a stream that broke off is its error", async () => {
  const stream = await mock.client("text=one two three; cut=3").chatStream(story);
  const error = await failure(stream.finalResponse());
  assert.ok(error instanceof TruncatedError);
  assert.equal(error.partial.choices[0].message.content, "one two");
});

test("breaking at the last chunk leaves a whole response", async () => {
  const stream = await mock.client("text=one two").chatStream(story);
  for await (const chunk of stream) if (chunk.choices[0].finish_reason) break;
  assert.equal((await stream.finalResponse()).choices[0].message.content, "one two");
});

test("toReadableStream gives a line of JSON a chunk", async () => {
  const stream = await mock.client("text=one two three").chatStream(story);
  const text = await new Response(stream.toReadableStream()).text();
  assert.equal(
    textOf(
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ),
    "one two three",
  );
});

test("toResponse gives server-sent events, and their end", async () => {
  const response = (await mock.client("text=one two three").chatStream(story)).toResponse({
    headers: { "x-mine": "1" },
  });
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  assert.equal(response.headers.get("x-mine"), "1");
  const events = (await response.text())
    .trim()
    .split("\n\n")
    .map((event) => event.replace(/^data: /, ""));
  assert.equal(events.pop(), "[DONE]");
  assert.equal(textOf(events.map((event) => JSON.parse(event))), "one two three");
});

test("toResponse says an error inside the stream, and no end", async () => {
  const response = (await mock.client("text=one two three; cut=3").chatStream(story)).toResponse();
  const events = (await response.text())
    .trim()
    .split("\n\n")
    .map((event) => JSON.parse(event.replace(/^data: /, "")));
  assert.equal(events.pop().error.type, "truncated");
  assert.equal(textOf(events), "one two");
});

test("a client that leaves a response closes the connection", async () => {
  const response = (await mock.client("id=left; text=one two three; stall=3").chatStream(story)).toResponse();
  const reader = response.body.getReader();
  await reader.read();
  await reader.cancel();
  await closes("left");
});

test("a route of node:http streams it, and a caller who leaves closes the connection", async (t) => {
  const client = mock.client("text=one two three");
  const server = createServer(async (request, response) => {
    const behaviour = request.url === "/left" ? "id=routed; text=one two three; stall=3" : "text=one two three";
    // A pipeline that ends early leaves a read of its source pending, and so the source open.
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const stream = await client.chatStream(story, { headers: { "x-mock": behaviour }, signal: gone.signal });
    await pipeline(stream.toResponse().body, response).catch(() => {});
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close().closeAllConnections());
  const url = `http://127.0.0.1:${server.address().port}`;
  assert.match(await (await fetch(`${url}/`)).text(), /" three"[\s\S]*data: \[DONE\]/);
  const left = new AbortController();
  const response = await fetch(`${url}/left`, { signal: left.signal });
  await response.body.getReader().read();
  left.abort();
  await closes("routed");
});

test("several reads may be awaited at once, and are served in turn", async () => {
  const stream = await mock.client("id=several; text=one two three; withhold=1").chatStream(story);
  const reads = Array.from({ length: 7 }, () => stream.next());
  await mock.release("several", "all");
  const results = await Promise.all(reads);
  assert.equal(textOf(results.filter((result) => !result.done).map((result) => result.value)), "one two three");
  assert.deepEqual(
    results.map((result) => result.done),
    [false, false, false, false, false, true, true],
  );
});

test("the process stays for a stream that is awaited, and for no other", async () => {
  const awaited = await run(
    "const stream = await client.chatStream(story); for await (const _ of stream); console.log('over');",
    "text=one two; pace=50",
  );
  assert.equal(awaited.stdout, "over\n");
  // Nobody reads this one, and its answer would not end.
  const left = await run("await client.chatStream(story); console.log('left');", "id=unread; text=one two; stall=2");
  assert.equal(left.stdout, "left\n");
});

test("worker threads stream, and end while they do", async () => {
  const program = `
    const { workerData, parentPort } = require("node:worker_threads");
    const { LlmClient } = require("@kreuzberg/liter-llm");
    const client = new LlmClient(workerData.options);
    (async () => {
      let text = "";
      for await (const chunk of await client.chatStream(workerData.story)) text += chunk.choices[0]?.delta.content ?? "";
      parentPort.postMessage(text);
      for await (const chunk of await client.chatStream(workerData.story, { headers: { "x-mock": workerData.stall } })) parentPort.postMessage("stalled");
    })();`;
  const work = async (number) => {
    const options = { apiKey: "k", baseUrl: `${mock.url}/v1`, headers: { "x-mock": "text=one two three" } };
    const stall = `id=worker-${number}; text=one; stall=1`;
    const worker = new Worker(program, { eval: true, workerData: { options, story, stall } });
    const said = [];
    await new Promise((resolve, reject) => {
      worker.on("error", reject);
      worker.on("message", (message) => said.push(message) === 2 && resolve());
    });
    await worker.terminate();
    await mock.wait(`worker-${number}`, "left");
    return said;
  };
  assert.deepEqual(await Promise.all([1, 2, 3].map(work)), Array(3).fill(["one two three", "stalled"]));
});

/** A client of the mock's Vertex AI whose tokens come from `give`. */
function clientWithTokens(give, behaviour = "text=one two three") {
  return new LlmClient({
    baseUrls: { vertex_ai: mock.url },
    settings: { vertex_ai: { project: "p" } },
    headers: { "x-mock": behaviour },
    maxRetries: 0,
    tokenProviders: { vertex_ai: give },
  });
}
const vertex = { ...story, model: "vertex_ai/gemini-2.5-flash" };

test("a client with token providers in JavaScript streams, and refuses a plain for", async () => {
  let asked = 0;
  // The first is as good as over when it comes.
  const client = clientWithTokens(async () => {
    asked++;
    return {
      token: `token-567${asked}`,
      expiresAt: asked === 1 ? Date.now() + 1000 : new Date(Date.now() + 3_600_000),
    };
  }, "id=own-tokens; text=one two three");
  for (const calls of [1, 2, 2]) {
    assert.equal(textOf(await collect(await client.chatStream(vertex))), "one two three");
    assert.equal(asked, calls);
  }
  const sent = (await mock.log("own-tokens")).map(({ headers }) => new Map(headers).get("authorization"));
  assert.deepEqual(
    sent.map((end) => end.slice(-4)),
    ["5671", "5672", "5672"],
  );
  const stream = await client.chatStream(vertex);
  assert.throws(() => {
    for (const _ of stream);
  }, /for await/);
  stream.abort();
});

test("a token provider that gives none fails the call with its message, and no token is told", async () => {
  const luck = new Error("no luck");
  const throws = () => {
    throw luck;
  };
  for (const [give, message] of [
    [throws, /no luck/],
    [async () => throws(), /no luck/],
    [() => "token-5678", /no object with `token`/],
    [() => ({ expiresAt: 1 }), /neither/],
  ]) {
    const error = await failure(clientWithTokens(give).chatStream(vertex));
    assert.ok(error instanceof AuthenticationError);
    assert.match(error.message, message);
    if (message.test(luck.message)) assert.equal(error.cause, luck);
    assert.doesNotMatch(error.message, /5678/);
  }
});

test("keys of AWS come from a token provider, too", async () => {
  const client = new LlmClient({
    baseUrls: { bedrock: mock.url },
    settings: { bedrock: { region: "us-east-1" } },
    headers: { "x-mock": "id=own-keys; text=one" },
    tokenProviders: {
      bedrock: () => ({ accessKeyId: "AKIDOWN", secretAccessKey: "s", sessionToken: "t" }),
    },
  });
  await client.chat({ ...story, model: "bedrock/amazon.nova-lite-v1:0" });
  const [{ headers }] = await mock.log("own-keys");
  assert.ok(new Map(headers).has("x-amz-security-token"));
});

test("an error says who refused, how, under which name, and when to ask again", async () => {
  const behaviour = "status=429; retry_after=7; request_id=req-9; error_code=slow_down; error_message=too much";
  const error = await failure(mock.client(behaviour).chat(story));
  assert.ok(error instanceof RateLimitedError && error instanceof LlmError && error instanceof Error);
  const { name, kind, provider, model, status, requestId, retryAfter, code, retryable } = error;
  assert.deepEqual(
    { name, kind, provider, model, status, requestId, retryAfter, code, retryable },
    {
      name: "RateLimitedError",
      kind: "rate_limited",
      provider: "openai",
      model: "demo",
      status: 429,
      requestId: "req-9",
      retryAfter: 7000,
      code: "slow_down",
      retryable: true,
    },
  );
  assert.match(error.message, /too much/);
  assert.match(error.body, /too much/);
  assert.equal(error.partial, undefined);
});

test("what is wrong with options and requests is told", async () => {
  assert.throws(() => new LlmClient({ nonsense: true }), InvalidRequestError);
  assert.throws(() => new LlmClient({ baseUrl: "nowhere" }), InvalidRequestError);
  assert.ok((await failure(mock.client("").chatStream({ model: "openai/demo" }))) instanceof InvalidRequestError);
  const cycle = { ...story };
  cycle.metadata = { cycle };
  assert.ok((await failure(mock.client("").chatStream(cycle))) instanceof InvalidRequestError);
});

test("both module systems give the same classes", async () => {
  const { createRequire } = await import("node:module");
  assert.equal(createRequire(import.meta.url)("@kreuzberg/liter-llm").ChatStream, ChatStream);
});
