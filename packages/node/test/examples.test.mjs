// The READMEs' examples: each block of JavaScript or TypeScript passes the compiler's strictest checks, and runs against the mock.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import ts from "typescript";
import { root, startMock } from "./harness.mjs";

const folder = join(import.meta.dirname, ".examples");
const chat = (body) =>
  `{ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(${body}) }`;
const asked = chat('{ model: "openai/gpt-4o", messages: [{ role: "user", content: "Hello" }] }');

/** How each block is run: what the mock answers, what is put after the block, and what is then printed. By heading and number. */
const runs = {
  "README.md: In ten lines": { mock: "text=one two", prints: /^one two$/ },
  "@kreuzberg/liter-llm": { mock: "text=one two", prints: /^one two$/ },
  "A streaming route": {
    mock: "text=one two",
    after: `console.log(await (await POST(new Request("http://localhost/", ${asked}))).text());`,
    prints: /"content":" two"[\s\S]*data: \[DONE\]/,
  },
  "A streaming route 2": {
    mock: "text=one two",
    after: `console.log(await (await app.request("/chat", ${asked})).text());`,
    prints: /"content":" two"[\s\S]*data: \[DONE\]/,
  },
  "A streaming route 3": {
    mock: "text=one two",
    after: `const server = app.listen(0, async () => {
      const { port } = server.address() as { port: number };
      const answer = await fetch(\`http://127.0.0.1:\${port}/chat\`, ${asked});
      console.log(answer.headers.get("content-type"), await answer.text());
      server.close();
    });`,
    prints: /^text\/event-stream[\s\S]*"content":" two"[\s\S]*data: \[DONE\]/,
  },
  Tools: {
    mock: 'tool=weather:{"city":"Kiel"}',
    after: "console.log(JSON.stringify(messages.at(-1)));",
    prints: /"role":"tool".*"content":"rain in Kiel"/,
  },
  "Tools 2": { mock: 'text={"name":"Ada","age":36}', prints: /^Ada is 36$/ },
  Abort: { mock: "text=one two three; stall=3", edit: ["30_000", "300"], prints: /one\n two\none two$/ },
  Fallback: {
    mock: "text=one two; cut=2; continue=1; fail_times=1; id=readme",
    prints: /^one two.*openai: truncated.*answered/s,
  },
  Hooks: { mock: "text=a secret", prints: /^gpt-4o: \d+\.\d s, well\na \*{6}$/ },
  Options: { mock: "text=one", prints: /^$/ },
};

/** What a block may use without saying where it comes from. */
const given = {
  LlmClient: 'import { LlmClient } from "@kreuzberg/liter-llm";',
  Hook: 'import type { Hook } from "@kreuzberg/liter-llm";',
  Message: 'import type { Message } from "@kreuzberg/liter-llm";',
  client: "const client = new LlmClient();",
  messages: 'const messages: Message[] = [{ role: "user", content: "Tell me a story" }];',
  request: 'const request = { model: "openai/gpt-4o", messages: [{ role: "user", content: "Tell me a story" }] };',
  show: "const show = (what: unknown) => what && console.log(what);",
  weatherIn: "const weatherIn = async (city: string) => 'rain in '.concat(city);",
};

function blocksOf(path, section) {
  const seen = new Map();
  let heading = "";
  return [...readFileSync(path, "utf8").matchAll(/^#+ (.*)$|^```(?:js|ts)\n([\s\S]*?)^```$/gm)].flatMap(
    ([, title, code]) => {
      if (title !== undefined) heading = section ? `${basename(path)}: ${title}` : title;
      if (code === undefined) return [];
      const number = (seen.get(heading) ?? 0) + 1;
      seen.set(heading, number);
      return [{ name: number === 1 ? heading : `${heading} ${number}`, code }];
    },
  );
}

/** The block as a module of its own. */
function moduleOf(code, { edit = ["", ""], after: driver = "" } = {}) {
  let text = `${code.replace(...edit)}\n${driver}`;
  for (const [name, line] of Object.entries(given).reverse()) {
    const isUsed = new RegExp(`\\b${name}\\b`).test(text);
    const isDeclared = new RegExp(`\\b(const|class|function) ${name}\\b|import [^;]*\\b${name}\\b[^;]* from`).test(
      text,
    );
    if (isUsed && !isDeclared) text = `${line}\n${text}`;
  }
  return `${text}\nexport {};\n`;
}

const blocks = [...blocksOf(join(root, "packages", "node", "README.md")), ...blocksOf(join(root, "README.md"), true)];
const fileOf = (at) => join(folder, `block-${at}.mts`);

let mock;
before(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [at, { name, code }] of blocks.entries()) writeFileSync(fileOf(at), moduleOf(code, runs[name]));
  mock = await startMock();
});
after(() => {
  mock.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("each block has its run, and each run its block", () => {
  assert.deepEqual(blocks.map(({ name }) => name).sort(), Object.keys(runs).sort());
});

test("each block type-checks", () => {
  const { options } = ts.convertCompilerOptionsFromJson(
    JSON.parse(readFileSync(join(import.meta.dirname, "types", "tsconfig.json"), "utf8")).compilerOptions,
    folder,
  );
  const program = ts.createProgram(
    blocks.map((_, at) => fileOf(at)),
    { ...options, noEmit: false },
  );
  const wrong = ts.getPreEmitDiagnostics(program);
  const host = { getCurrentDirectory: () => folder, getCanonicalFileName: (name) => name, getNewLine: () => "\n" };
  assert.equal(ts.formatDiagnostics(wrong, host), "");
  program.emit();
});

for (const [at, { name }] of blocks.entries()) {
  test(`it runs: ${name}`, async () => {
    const { mock: behaviour, prints } = runs[name];
    const path = `${mock.url}/mock/${behaviour.split(/; */).map(encodeURIComponent).join(",").replaceAll("%3D", "=")}`;
    const env = { ...process.env, OPENAI_BASE_URL: `${path}/v1`, ANTHROPIC_BASE_URL: path, GEMINI_BASE_URL: path };
    for (const provider of ["OPENAI", "ANTHROPIC", "GEMINI", "MY_OPENAI", "MY_GROQ"])
      env[`${provider}_API_KEY`] = "test";
    Object.assign(env, { MY_OPENAI_KEY: "test", MY_GROQ_KEY: "test" });
    const file = fileOf(at).replace(/\.mts$/, ".mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env, timeout: 20_000 });
    assert.match(stdout.trimEnd(), prints);
  });
}
