// Measures the Node.js clients side by side: `node bench.mjs <mock's address> [command that starts a client on its processors…]`.
// Rows of JSON on stdout, all else on stderr; what they mean is told in scripts/bench.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const [mock, ...start] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const names = ["literllm-node", "openai-node", "ai", "peer-liter-llm", "floor-node"];
const burst = "chunks=2000,bytes=287";
const [rounds, streams, calls] = [9, 10, 300];
/** 100 chunks of text between the role's and the last, 20 ms apart. */
const paced = { behaviour: "chunks=100,bytes=287,pace=20", streams: 1000, ideal_ms: 101 * 20 };

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A client as a process; nothing where it does not start. */
async function open(name) {
  const [program, ...args] = [...start, process.execPath, join(here, "client.mjs"), name, mock];
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async () => {
    const { done, value } = await lines.next();
    return done ? undefined : JSON.parse(value);
  };
  const ask = async (line) => {
    const answered = answer();
    child.stdin.write(`${line}\n`);
    const result = await answered;
    if (!result) throw new Error(`${name} ended: ${said}`);
    return result;
  };
  if (!(await answer())) {
    console.error(`${name} does not run here: ${/Error: .*/.exec(said)?.[0] ?? said}`);
    return undefined;
  }
  return { name, ask, close: () => child.stdin.end(), cpu: [], first: [], rss: 0 };
}

const row = (fields) => console.log(JSON.stringify(fields));
const clients = (await Promise.all(names.map(open))).filter(Boolean);
for (const client of clients) await client.ask(`stream ${burst} 3`);
for (let round = 0; round < rounds; round++) {
  for (const client of clients) {
    const { cpu_us, chunks, rss_kib } = await client.ask(`stream ${burst} ${streams}`);
    if (chunks < 2000 * streams) throw new Error(`${client.name} lost chunks: ${chunks}`);
    client.cpu.push(cpu_us / chunks);
    client.rss = rss_kib;
  }
}
for (let part = 0; part < 3; part++) {
  for (const client of clients) client.first.push(...(await client.ask(`first text=once ${calls / 3}`)).times);
}
for (const { name, cpu, first, rss, close } of clients) {
  close();
  row({
    client: name,
    cpu_us_per_chunk: Number(median(cpu).toFixed(2)),
    ttft_us: Math.round(median(first)),
    rss_mib: Number((rss / 1024).toFixed(1)),
  });
}
for (const name of clients.map((client) => client.name)) {
  const client = await open(name);
  const { wall_ms, chunks, rss_kib } = await client.ask(`paced ${paced.behaviour} ${paced.streams}`);
  client.close();
  row({
    client: name,
    case: `${paced.streams} streams, a chunk every 20 ms`,
    chunks,
    wall_over_ideal: Number((wall_ms / paced.ideal_ms).toFixed(2)),
    rss_mib: Number((rss_kib / 1024).toFixed(1)),
  });
}
