/**
 * The speed of the engine that Berth ships, beside llama.cpp's own server of the same release on the same files, and of that
 * server through Berth beside itself asked directly. One thread each; what is compared takes turns in one run, so that a
 * machine whose speed drifts treats both alike, and medians are compared.
 *
 *   npm run bench:engines -- [--only embedded,berth,start] [--sizes 58M,500M] [--streams 1,4,16] [--rounds 5] [--tokens 128]
 *
 * The server is BERTH_LLAMA_SERVER, or `llama-server` on PATH (`berth engines install llama-server` builds one). A ratio by
 * the clock is that of a quiet machine; beside it stands the ratio by processor time, which a busy one disturbs less.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sizes, writeSizedModel } from "../../tools/tiny-gguf/sized-gguf.ts";
import { measureFirstToken, measureSpeed, type Work } from "./load.ts";
import { openEmbedded, openLlamaServer, type Server, startServer } from "./servers.ts";
import { startThroughBerth } from "./through-berth.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "embedded,berth,start" },
    sizes: { type: "string", default: "58M,500M" },
    streams: { type: "string", default: "1,4,16" },
    rounds: { type: "string", default: "5" },
    tokens: { type: "string", default: "128" },
  },
});
const wanted = values.only.split(",");
const rounds = Number(values.rounds);
const tokens = Number(values.tokens);
const llamaServerPath = process.env.BERTH_LLAMA_SERVER;

/** Least share of the server's speed, by the number of streams. */
const embeddedBars: Readonly<Record<number, number>> = { 1: 0.95, 4: 0.85, 16: 0.7 };
const berthBar = 0.98;
const berthStreams = 16;
const startBar = 4;
const promptBytes = 64;
/** One core for the engines, another for the clients, where there are two. */
const core = "0";

type Row = {
  readonly what: string;
  readonly figure: string;
  readonly bar: string;
  readonly holds: boolean;
};
type Speeds = { readonly clock: number[]; readonly processor: number[] };

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function measure(server: Pick<Server, "target" | "cpuS">, work: Work, seed: number, into: Speeds) {
  const before = server.cpuS();
  into.clock.push(await measureSpeed(server.target, work, seed));
  into.processor.push((work.streams * work.tokens) / (server.cpuS() - before));
}

/** Both in turn, the first changing from round to round; a round before them is not counted. */
async function alternate(
  ours: Pick<Server, "target" | "cpuS">,
  theirs: Pick<Server, "target" | "cpuS">,
  work: Work,
): Promise<{ ours: Speeds; theirs: Speeds }> {
  const speeds = { ours: { clock: [], processor: [] }, theirs: { clock: [], processor: [] } };
  const unread: Speeds = { clock: [], processor: [] };
  await measure(ours, work, 0, unread);
  await measure(theirs, work, 0, unread);
  for (let round = 1; round <= rounds; round += 1) {
    const turns = [
      () => measure(ours, work, round, speeds.ours),
      () => measure(theirs, work, round, speeds.theirs),
    ];
    for (const turn of round % 2 === 0 ? turns.toReversed() : turns) await turn();
  }
  return speeds;
}

function describeRatio(what: string, ours: readonly number[], theirs: readonly number[], bar: number): Row {
  const [mine, other] = [median(ours), median(theirs)];
  const figure = `${(mine / other).toFixed(3)} (${mine.toFixed(0)} / ${other.toFixed(0)} tokens/s)`;
  return { what, figure, bar: `>= ${bar}`, holds: mine / other >= bar };
}

async function compareEmbedded(folder: string, model: string, size: string, streams: number): Promise<Row> {
  const of = { model, slots: streams, folder, core };
  await using ours = await startServer(openEmbedded(), of);
  await using theirs = await startServer(await openLlamaServer(llamaServerPath), of);
  const speeds = await alternate(ours, theirs, { streams, promptBytes, tokens });
  const processor = median(speeds.ours.processor) / median(speeds.theirs.processor);
  const what = `embedded / llama-server, ${size}, ${streams} streams`;
  const row = describeRatio(what, speeds.ours.clock, speeds.theirs.clock, embeddedBars[streams] ?? 0);
  return { ...row, figure: `${row.figure}; ${processor.toFixed(3)} by processor time` };
}

async function compareThroughBerth(model: string, size: string): Promise<Row> {
  await using berth = await startThroughBerth(model, berthStreams, core, llamaServerPath);
  const work = { streams: berthStreams, promptBytes, tokens };
  const noCpu = () => 0;
  const speeds = await alternate(
    { target: berth.through, cpuS: noCpu },
    { target: berth.direct, cpuS: noCpu },
    work,
  );
  const what = `llama-server through Berth / directly, ${size}, ${berthStreams} streams`;
  return describeRatio(what, speeds.ours.clock, speeds.theirs.clock, berthBar);
}

/** From the start of the process, the file in the page cache. */
async function compareStart(folder: string, model: string, size: string): Promise<Row> {
  const times = { ours: [] as number[], theirs: [] as number[] };
  const engines = { ours: openEmbedded(), theirs: await openLlamaServer(llamaServerPath) };
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of ["ours", "theirs"] as const) {
      await using server = await startServer(engines[side], { model, slots: 4, folder, core });
      const firstMs = server.readyMs + (await measureFirstToken(server.target));
      if (round > 0) times[side].push(firstMs);
    }
  }
  const [mine, other] = [median(times.ours), median(times.theirs)];
  return {
    what: `start to first token, embedded / llama-server, ${size}`,
    figure: `${(mine / other).toFixed(2)} (${mine.toFixed(0)} / ${other.toFixed(0)} ms)`,
    bar: `<= ${startBar}`,
    holds: mine / other <= startBar,
  };
}

const folder = mkdtempSync(join(tmpdir(), "berth-bench-engines-"));
const rows: Row[] = [];
function show(row: Row): void {
  rows.push(row);
  console.log(`${row.holds ? "holds " : "MISSED"}  ${row.what.padEnd(58)} ${row.figure}   bar ${row.bar}`);
}

console.log(`${rounds} rounds of ${tokens} tokens a stream, alternating, ${availableParallelism()} cores`);
try {
  for (const size of values.sizes.split(",")) {
    if (!(size in sizes)) throw new Error(`there is no size ${size}`);
    const model = join(folder, `${size}.gguf`);
    await writeSizedModel(model, size as keyof typeof sizes);
    if (wanted.includes("embedded")) {
      for (const streams of values.streams.split(",").map(Number)) {
        show(await compareEmbedded(folder, model, size, streams));
      }
    }
    // A small model is the harder case for both: whatever is not computing weighs more.
    if (size !== "58M") continue;
    if (wanted.includes("berth")) show(await compareThroughBerth(model, size));
    if (wanted.includes("start")) show(await compareStart(folder, model, size));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1;
