// Builds dist: CommonJS by tsc, and an ES module that hands on the same classes, so that a program which loads both has one of each.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");
const require = createRequire(import.meta.url);

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", root], { stdio: "inherit" });

const values = [
  ...readFileSync(join(dist, "index.js"), "utf8").matchAll(
    /^Object\.defineProperty\(exports, "(\w+)", \{ enumerable/gm,
  ),
];
const names = values.map(([, name]) => name).sort();
writeFileSync(
  join(dist, "index.mjs"),
  `export {\n${names.map((name) => `  ${name},\n`).join("")}} from "./index.js";\n`,
);
writeFileSync(join(dist, "index.d.mts"), 'export * from "./index.js";\n');

// The engine as cargo built it for this machine, where no release has put its own.
const built =
  { darwin: "libliterllm_node.dylib", win32: "literllm_node.dll" }[process.platform] ?? "libliterllm_node.so";
const engine = join(root, "..", "..", "target", "release", built);
if (existsSync(engine)) {
  const isMusl = process.platform === "linux" && process.report.getReport().header.glibcVersionRuntime === undefined;
  const libc = process.platform === "linux" ? (isMusl ? "-musl" : "-gnu") : "";
  const folder = join(root, "prebuilds", `${process.platform}-${process.arch}${libc}`);
  mkdirSync(folder, { recursive: true });
  // A new file rather than new bytes in the old one: a process may have that one mapped.
  rmSync(join(folder, "literllm.node"), { force: true });
  copyFileSync(engine, join(folder, "literllm.node"));
}
