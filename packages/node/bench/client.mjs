// One client under measurement, as a process of its own: `node client.mjs <name> <mock's address>`. It reads a command a line and answers
// with a line of JSON: `stream <behaviour> <streams>` gives the CPU time and chunks of that many streams one after another,
// `first <behaviour> <calls>` the times until the first text, `paced <behaviour> <streams>` the wall time of that many at once.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [name, mock] = process.argv.slice(2);
const apiKey = "test-key-1234";
const story = { messages: [{ role: "user", content: "Tell me a story" }] };

/** Each makes, for a base URL, a function that reads one stream and calls `text` for what every chunk says. */
const clients = {
  async "literllm-node"() {
    const { LlmClient } = await import("../dist/index.mjs");
    return (baseUrl) => {
      const client = new LlmClient({ apiKey, baseUrl });
      return async (text) => {
        for await (const chunk of await client.chatStream({ model: "openai/demo", ...story }))
          text(chunk.choices[0]?.delta?.content);
      };
    };
  },
  async "openai-node"() {
    const { OpenAI } = await import("openai");
    return (baseURL) => {
      const client = new OpenAI({ apiKey, baseURL });
      return async (text) => {
        const stream = await client.chat.completions.create({ model: "demo", stream: true, ...story });
        for await (const chunk of stream) text(chunk.choices[0]?.delta?.content);
      };
    };
  },
  async ai() {
    const { streamText } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    return (baseURL) => {
      const model = createOpenAICompatible({ name: "mock", apiKey, baseURL })("demo");
      return async (text) => {
        for await (const part of streamText({ model, prompt: "Tell me a story" }).textStream) text(part);
      };
    };
  },
  async "peer-liter-llm"() {
    const { createClient } = await import("@xberg-io/liter-llm");
    return (baseUrl) => {
      const client = createClient(apiKey, baseUrl);
      return async (text) => {
        for await (const chunk of await client.chatStream({ model: "openai/demo", ...story }))
          text(chunk.choices[0]?.delta?.content);
      };
    };
  },
  /** What any client in JavaScript pays at least: undici's bytes, lines, JSON.parse. */
  async "floor-node"() {
    const { Pool } = await import("undici");
    return (baseUrl) => {
      const { origin, pathname } = new URL(baseUrl);
      const pool = new Pool(origin, { connections: 1024 });
      const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
      const body = JSON.stringify({ model: "demo", stream: true, ...story });
      return async (text) => {
        const answer = await pool.request({ method: "POST", path: `${pathname}/chat/completions`, headers, body });
        const decoder = new TextDecoder();
        let rest = "";
        for await (const bytes of answer.body) {
          rest += decoder.decode(bytes, { stream: true });
          let start = 0;
          for (let end = rest.indexOf("\n", start); end >= 0; end = rest.indexOf("\n", start)) {
            if (end > start + 6 && !rest.startsWith("data: [DONE]", start)) {
              text(JSON.parse(rest.slice(start + 6, end)).choices[0]?.delta?.content);
            }
            start = end + 1;
          }
          rest = rest.slice(start);
        }
      };
    };
  },
};

const connect = await clients[name]();
const readers = new Map();
const readerOf = (behaviour) => {
  if (!readers.has(behaviour)) readers.set(behaviour, connect(`${mock}/mock/${behaviour}/v1`));
  return readers.get(behaviour);
};

const commands = {
  async stream(read, streams) {
    let chunks = 0;
    let length = 0;
    const before = process.cpuUsage();
    for (let n = 0; n < streams; n++) {
      await read((text) => {
        chunks++;
        length += text?.length ?? 0;
      });
    }
    const { user, system } = process.cpuUsage(before);
    return { cpu_us: user + system, chunks, length };
  },
  async first(read, calls) {
    const times = [];
    for (let n = 0; n < calls; n++) {
      const started = performance.now();
      let at;
      await read((text) => {
        if (text) at ??= performance.now();
      });
      times.push((at - started) * 1000);
    }
    return { times };
  },
  async paced(read, streams) {
    let chunks = 0;
    const started = performance.now();
    await Promise.all(Array.from({ length: streams }, () => read(() => chunks++)));
    return { wall_ms: performance.now() - started, chunks };
  },
};

console.log("{}");
for await (const line of createInterface(process.stdin)) {
  const [command, behaviour, count] = line.split(" ");
  const result = await commands[command](readerOf(behaviour), Number(count));
  const rss_kib = Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  console.log(JSON.stringify({ ...result, rss_kib }));
}
