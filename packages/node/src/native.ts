/** Loads the engine: the one binary among `prebuilds` that fits this machine. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Native {
  Inbox: new (onReady: (numbers: number[]) => void) => NativeInbox;
  Questions: new () => NativeQuestions;
  Client: new (
    config: string,
    questions?: NativeQuestions,
    ask?: (number: number, hook: number | null | undefined, event: string) => void,
    hooks?: string[][],
  ) => NativeClient;
}

export interface NativeInbox {
  hold(): void;
  release(): void;
}

export interface NativeClient {
  chat(inbox: NativeInbox, request: string, options?: string): NativeCall;
  chatStream(inbox: NativeInbox, request: string, options?: string): NativeCall;
}

/** Takes the answers to what the engine asks. */
export interface NativeQuestions {
  answer(number: number, answer: string, thrown?: number): void;
  forgotten(): number[];
}

/** A call in flight; what its polls give is told in `bindings/node/src/call.rs`. */
export interface NativeCall {
  readonly number: number;
  poll(): string | null;
  wait(): string;
  cancel(): void;
  completion(): string | null;
}

/** The name of this machine's binary, such as `linux-x64-gnu`. */
function platform(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl() ? "musl" : "gnu"}`;
  return `${platform}-${arch}`;
}

function isMusl(): boolean {
  try {
    // It says so in its text; the report below takes longer than all else at loading.
    const ldd = readFileSync("/usr/bin/ldd", "latin1");
    if (/musl|GNU C Library/.test(ldd)) return ldd.includes("musl");
  } catch {
    // Not every system has one.
  }
  const report = process.report;
  if (!report) return false;
  // The report would otherwise ask the network for names.
  const { excludeNetwork } = report as { excludeNetwork?: boolean };
  Object.assign(report, { excludeNetwork: true });
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  Object.assign(report, { excludeNetwork });
  return header.glibcVersionRuntime === undefined;
}

function load(): Native {
  const folder = join(__dirname, "..", "prebuilds");
  const name = platform();
  const path = process.env.LITERLLM_NODE_BINARY ?? join(folder, name, "literllm.node");
  if (!existsSync(path)) {
    const there = existsSync(folder) ? readdirSync(folder).join(", ") : "";
    throw new Error(
      `@kreuzberg/liter-llm has no binary for ${name} (Node.js ${process.version}): ${path} does not exist. ` +
        `This package has ${there || "none"}. Build one with \`cargo build --release -p literllm-node\` in the repository, ` +
        "and name it in LITERLLM_NODE_BINARY.",
    );
  }
  try {
    return require(path) as Native;
  } catch (cause) {
    throw new Error(
      `@kreuzberg/liter-llm cannot load ${path} on ${name}: ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
      },
    );
  }
}

export const native = load();
