// Many streams: none leaks, none starves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { collect, startMock, story, textOf } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock();
});
after(() => mock.stop());

test("1,000 streams at once each get their own chunks", async () => {
  const client = mock.client("");
  const texts = await Promise.all(
    Array.from({ length: 1000 }, async (_, number) => {
      const options = { headers: { "x-mock": `text=${number} is mine; pace=5` } };
      return textOf(await collect(await client.chatStream(story, options)));
    }),
  );
  assert.deepEqual(
    texts,
    texts.map((_, number) => `${number} is mine`),
  );
});

test("10,000 streams left at random leave nothing behind", async () => {
  const client = mock.client("text=one two three four five six seven eight");
  const controller = new AbortController();
  // The same every time.
  let seed = 1;
  const random = (below) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  const one = async () => {
    const stream = await client.chatStream(story, { signal: controller.signal });
    const ending = random(4);
    let left = random(8);
    if (ending === 3) return;
    try {
      for await (const _ of stream) {
        if (left-- > 0) continue;
        if (ending === 0) break;
        if (ending === 1) throw new Error("mine");
        stream.abort();
      }
    } catch {}
  };
  const run = async (streams) => {
    const lanes = Array.from({ length: 16 }, async () => {
      for (let n = 0; n < streams / 16; n++) await one();
    });
    await Promise.all(lanes);
    for (let n = 0; n < 3; n++) {
      global.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return process.memoryUsage.rss();
  };
  // The allocator keeps what many threads needed at once; it has that after some ten thousand streams.
  const warm = await run(20_000);
  const handles = process.getActiveResourcesInfo().length;
  const end = await run(10_000);
  assert.equal(process.getActiveResourcesInfo().length, handles);
  assert.ok(end - warm < 16 * 1024 * 1024, `${(end - warm) / 1024 / 1024} MiB more after 10,000 streams`);
  // The mock sees every connection of a stream that was left closed.
  const deadline = performance.now() + 10_000;
  let open = 1;
  while (open > 0 && performance.now() < deadline) {
    global.gc();
    open = (await mock.stats()).streams?.open ?? 0;
  }
  assert.equal(open, 0);
});
