/**
 * The gateway's speed, beside nginx as a bare proxy and beside Portkey's gateway (TypeScript as well), in one run:
 *
 *   npm run bench:gateway [-- --rounds 3] [--seconds 5] [--only cpu,sse,latency,peer,stream-memory,leak,several] [--leak-requests N]
 *
 * Needs Linux, taskset, a C compiler, two cores, and at the first run Debian's mirror (nginx, unless installed) and npm's
 * registry (Portkey). The measured process has the last core to itself; engine and clients share the first. Processor time
 * is the kernel's own count of it. Figures are medians of the rounds, in which the candidates take turns.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchModel, benchToken, startControl } from "./control.ts";
import {
  type Cores,
  compile,
  endAll,
  type Load,
  type LoadResult,
  type Measured,
  runLoad,
  startBerth,
  startNginx,
  startPortkey,
  startUpstream,
} from "./processes.ts";
import { startSeveral } from "./several.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    only: { type: "string", default: "cpu,sse,latency,peer,stream-memory,leak,several" },
    "leak-requests": { type: "string", default: "1000000" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const only = new Set(values.only.split(","));
const cores: Cores = { measured: String(cpus().length - 1), others: "0" };

const folder = mkdtempSync(join(tmpdir(), "berth-bench-"));
const home = join(folder, "home");
const programs = compile(folder);
const control = await startControl(home);

/** Streams of the chunk rows, and the pace of each. */
const streams = 200;
const chunksPerSecond = 10_000;
const memoryStreams = 5000;

type Question = "whole" | "stream" | "slow-stream";

/** Writes the request that the clients send to a file. */
function requestFile(name: Question, port: number, upstreamPort: number): string {
  const eventsOf = { whole: 0, stream: streamEvents(streams), "slow-stream": streamEvents(memoryStreams) }[
    name
  ];
  const paceUs =
    name === "slow-stream" ? (memoryStreams / chunksPerSecond) * 1e6 : (streams / chunksPerSecond) * 1e6;
  const more = name === "whole" ? {} : { stream: true, max_tokens: eventsOf, user: `us=${paceUs}` };
  const content = "Tell me, in a few sentences, what a gateway is for. ".repeat(8);
  const body = JSON.stringify({
    model: benchModel,
    messages: [{ role: "user", content }],
    temperature: 0.5,
    ...more,
  });
  const lines = [
    "POST /v1/chat/completions HTTP/1.1",
    "host: bench",
    `authorization: Bearer ${benchToken}`,
    "content-type: application/json",
    // Portkey is told with each request where to go; the others ignore it.
    "x-portkey-provider: openai",
    `x-portkey-custom-host: http://127.0.0.1:${upstreamPort}/v1`,
    `content-length: ${Buffer.byteLength(body)}`,
    "",
    body,
  ];
  const path = join(folder, `${name}-${port}`);
  writeFileSync(path, lines.join("\r\n"));
  return path;
}

/** Each stream lasts as long as a window of measurement. */
function streamEvents(count: number): number {
  return Math.max(2, Math.round((seconds * chunksPerSecond) / count));
}

type Window = LoadResult & { readonly cpuS: number };

async function window(target: Measured, question: Question, load: Load): Promise<Window> {
  const before = target.cpuS();
  const result = await runLoad(
    programs.load,
    requestFile(question, target.port, upstreamPort),
    target.port,
    load,
    cores,
  );
  return { ...result, cpuS: target.cpuS() - before };
}

const whole: Load = { connections: 64, seconds, rate: 0, events: 0 };
const paced: Load = { connections: 64, seconds, rate: 1000, events: 0 };
// Streams are asked for once: all of the window is one answer each.
const chunks: Load = { connections: streams, seconds: 0.5, rate: 0, events: streamEvents(streams) };

const median = (figures: readonly number[]) =>
  [...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? 0;

/** Answers or events that a candidate has passed on before it is measured, so that its hot paths are compiled. */
const warmUpCount = 150_000;
/** Windows that warming up takes at most: a slow candidate is measured as warm as it gets. */
const maxWarmUps = 10;

async function warmUp(target: Measured, question: Question, load: Load): Promise<void> {
  let count = 0;
  for (let windows = 0; windows < maxWarmUps && count < warmUpCount; windows += 1) {
    const { answers, events } = await window(target, question, load);
    count += Math.max(answers, events);
  }
}

/** Measures each candidate in turn, round by round, when all are warm. */
async function takeTurns(
  candidates: readonly Measured[],
  question: Question,
  load: Load,
): Promise<Map<string, Window[]>> {
  const windows = new Map<string, Window[]>(candidates.map(({ name }) => [name, []]));
  for (const target of candidates) await warmUp(target, question, load);
  for (let round = 0; round < rounds; round += 1) {
    for (const target of candidates) windows.get(target.name)?.push(await window(target, question, load));
  }
  return windows;
}

const lines: string[] = [];
function row(what: string, figures: string, ratio: number, bar: string, holds: boolean): void {
  const line = `${what} | ${figures} | ${ratio.toFixed(2)} | ${bar} | ${holds ? "holds" : "MISSED"}`;
  lines.push(line);
  process.stdout.write(`${line}\n`);
}

function ratioOf(
  windows: Map<string, Window[]>,
  one: string,
  other: string,
  figure: (window: Window) => number,
) {
  const [a, b] = [one, other].map((name) => median((windows.get(name) ?? []).map(figure))) as [
    number,
    number,
  ];
  return { a, b, ratio: a / b };
}

const upstreamPort = await startUpstream(programs.upstream, cores);
control.route(upstreamPort);
try {
  await measure();
} finally {
  await endAll();
  await control.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const berth = await startBerth(home, cores);
  const nginx = await startNginx(folder, upstreamPort, cores);
  const direct: Measured = { name: "direct", port: upstreamPort, cpuS: () => 0, residentBytes: () => 0 };
  if (only.has("cpu")) {
    const windows = await takeTurns([nginx, berth], "whole", whole);
    const { a, b, ratio } = ratioOf(windows, "berth", "nginx", ({ cpuS, answers }) => (cpuS / answers) * 1e6);
    row("CPU per request", `${a.toFixed(1)} µs, nginx ${b.toFixed(1)} µs`, ratio, "≤ 4.0", ratio <= 4);
  }
  if (only.has("sse")) {
    const windows = await takeTurns([nginx, berth], "stream", chunks);
    const { a, b, ratio } = ratioOf(windows, "berth", "nginx", ({ cpuS, events }) => (cpuS / events) * 1e6);
    row("CPU per chunk", `${a.toFixed(1)} µs, nginx ${b.toFixed(1)} µs`, ratio, "≤ 2.0", ratio <= 2);
  }
  if (only.has("latency")) {
    const windows = await takeTurns([direct, nginx, berth], "whole", paced);
    const base = median((windows.get("direct") ?? []).map(({ p50Ms }) => p50Ms));
    const { a, b, ratio } = ratioOf(windows, "berth", "nginx", ({ p50Ms }) => p50Ms - base);
    const added = `+${a.toFixed(2)} ms, nginx +${b.toFixed(2)} ms`;
    row("added latency, p50", added, ratio, "≤ 2.5", ratio <= 2.5);
  }
  if (only.has("peer")) {
    const portkey = await startPortkey(folder, cores);
    const windows = await takeTurns([portkey, berth], "whole", whole);
    const { a, b, ratio } = ratioOf(
      windows,
      "berth",
      "portkey",
      ({ answers, seconds: took }) => answers / took,
    );
    row("requests/s on one core", `${a.toFixed(0)}, Portkey ${b.toFixed(0)}`, ratio, "≥ 10", ratio >= 10);
  }
  if (only.has("stream-memory")) await measureStreamMemory();
  if (only.has("leak")) await measureLeak();
  if (only.has("several")) await measureSeveral();
}

/** What a request costs where two processes share them: half have their deployment's line in the other process. */
async function measureSeveral(): Promise<void> {
  const [one, two] = [await startSeveral(home, cores, 1), await startSeveral(home, cores, 2)];
  try {
    const windows = await takeTurns([one, two], "whole", whole);
    const { a, b, ratio } = ratioOf(
      windows,
      two.name,
      one.name,
      ({ cpuS, answers }) => (cpuS / answers) * 1e6,
    );
    row("CPU per request, two processes", `${a.toFixed(1)} µs, one ${b.toFixed(1)} µs`, ratio, "none", true);
    const answered = await two.answered();
    const share = Math.min(...answered) / answered.reduce((sum, count) => sum + count, 0);
    row("least share of two processes", answered.join(", "), share, "none", true);
  } finally {
    await one.end();
    await two.end();
  }
}

/** Memory of open streams, without what is kept of them to continue them. */
async function measureStreamMemory(): Promise<void> {
  // So many at once may have to wait for their connections to the engine, all in one line.
  const berth = await startBerth(home, cores, {
    BERTH_CONTINUE: "off",
    BERTH_QUEUE: String(2 * memoryStreams),
  });
  const load: Load = { connections: memoryStreams, seconds: 1, rate: 0, events: streamEvents(memoryStreams) };
  await window(berth, "whole", { ...whole, seconds: 2 });
  const before = berth.residentBytes();
  const streaming = window(berth, "slow-stream", load);
  const peaks: number[] = [];
  const sampler = setInterval(() => peaks.push(berth.residentBytes()), 250);
  await streaming;
  clearInterval(sampler);
  const perStream = (Math.max(...peaks) - before) / memoryStreams / 1024;
  row(
    "memory per open stream",
    `${perStream.toFixed(1)} KB at ${memoryStreams}`,
    perStream,
    "≤ 25",
    perStream <= 25,
  );
}

async function measureLeak(): Promise<void> {
  const berth = await startBerth(home, cores);
  const all = Number(values["leak-requests"]);
  let answers = 0;
  let early = 0;
  while (answers < all) {
    const seconds = answers < 10_000 ? 1 : 5;
    answers += (await window(berth, "whole", { ...whole, seconds })).answers;
    if (early === 0 && answers >= 10_000) early = berth.residentBytes();
  }
  const late = berth.residentBytes();
  const ratio = late / early;
  const shown = `${(early / 2 ** 20).toFixed(0)} MB, then ${(late / 2 ** 20).toFixed(0)} MB`;
  row(`memory after ${answers} requests against the first 10,000`, shown, ratio, "≤ 1.1", ratio <= 1.1);
}

const node = execFileSync(process.execPath, ["--version"]).toString().trim();
process.stdout.write(
  `\n${cpus()[0]?.model ?? ""}, ${cpus().length} cores, Node ${node}, ${rounds} rounds of ${seconds} s\n`,
);
