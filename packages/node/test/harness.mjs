// The mock provider as a process of its own, and what the tests ask of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LlmClient } from "@kreuzberg/liter-llm";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
export const cases = join(root, "core", "conformance");
export const story = { model: "openai/demo", messages: [{ role: "user", content: "Tell me a story" }] };
/** A hundred milliseconds are promised; a noisy machine has ten times that. */
export const AT_ONCE = 1000;

/** Starts a mock that dies with this process. */
export async function startMock(...args) {
  const program = process.env.LITERLLM_BIN ?? join(root, "target", "release", "literllm");
  const child = spawn(program, ["mock", "--port", "0", "--exit-with-stdin", ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [url] = await once(createInterface(child.stdout), "line");
  child.unref();
  child.stdin.unref();
  child.stdout.unref();
  const control = async (path, method = "GET") => {
    const answer = await fetch(`${url}/_mock/${path}`, { method });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json().catch(() => null)) ?? {};
  };
  return {
    url,
    wait: (id, event, timeout = 10_000) => control(`wait?id=${id}&event=${event}&timeout_ms=${timeout}`),
    release: (id, n = 1) => control(`release?id=${id}&n=${n}`, "POST"),
    log: (id) => control(`log?id=${id}`),
    stats: () => control("stats"),
    client: (behaviour, options = {}) =>
      new LlmClient({
        apiKey: "test-key-1234",
        baseUrl: `${url}/v1`,
        headers: { "x-mock": behaviour },
        maxRetries: 0,
        ...options,
      }),
    stop: () => child.kill(),
  };
}

/** A configuration of the engine as this package's options. */
export function optionsOf(config) {
  const seconds = /(timeout|delay|cooldown)$/;
  const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [
      camel(name),
      seconds.test(name) && value !== null ? value * 1000 : name === "hosts" ? value.map(optionsOf) : value,
    ]),
  );
}

export async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

export function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
}

/** What a promise is rejected with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("an error was due");
}
