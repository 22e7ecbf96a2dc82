/**
 * Inspecting and fitting a repository of 400 GB before a byte of its weights is fetched: bytes fetched and time, with a
 * stand-in hub 50 ms away. Prints a row for each kind of model with the bars it is held to.
 *
 *   node bench/engines/inspect.ts [--rounds 5] [--round-trip-ms 50]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { firstRevisions, noEngineArgs } from "../../src/core/deployment.ts";
import { fitDeployment } from "../../src/core/fit-deployment.ts";
import { weightFilesChooser } from "../../src/engines/weight-files.ts";
import { createHub } from "../../src/hub/hub.ts";
import { systemClock } from "../../src/telemetry/clock.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    "round-trip-ms": { type: "string", default: "50" },
  },
});
const rounds = Number(values.rounds);
const roundTripMs = Number(values["round-trip-ms"]);
const bars = { bytes: 5e6, ms: 2000 };

/** The stand-in has a process of its own, so that its work is not measured. */
async function startServer() {
  const script = new URL("./header-hub.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, String(roundTripMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { url, repos } = JSON.parse(line) as { url: string; repos: string[] };
  const counts = async () =>
    (await (await fetch(`${url}/_counts`)).json()) as { sentBytes: number; requests: number };
  const close = async () => {
    child.kill();
    await once(child, "exit");
  };
  return { url, repos, counts, close };
}

const server = await startServer();
const chooseFiles = weightFilesChooser({ allowPickle: false });
const median = (some: readonly number[]) => some.toSorted((a, b) => a - b)[Math.floor(some.length / 2)] ?? 0;
let isWithin = true;

for (const repo of server.repos) {
  const took: number[] = [];
  let bytes = 0;
  let requests = 0;
  let answer = "";
  for (let round = 0; round < rounds; round += 1) {
    const home = await mkdtemp(join(tmpdir(), "berth-bench-inspect-"));
    try {
      const before = await server.counts();
      // A new hub each round: no connection is open yet, as in a control that has just started.
      const hub = createHub({
        home,
        endpoint: server.url,
        allowPrivateRedirects: true,
        builtin: new Map(),
        chooseFiles,
        clock: systemClock,
        threads: 0,
      });
      const startedAtMs = performance.now();
      const outcome = await hub.inspect({ repo, revision: null }, null, new AbortController().signal);
      if (!outcome.ok) throw new Error(outcome.failure.message);
      const facts = outcome.value;
      const found = fitDeployment({
        deployment: {
          config: {
            gpu: "H200-141GB",
            numGpus: 4,
            maxBatchSize: 16,
            weights: { repo, revision: null },
            baseModel: null,
            containerImage: null,
          },
          resolved: { commit: "", files: [], engine: "vllm", entryFile: "", task: "", facts },
          revisions: firstRevisions(noEngineArgs),
        },
        nodes: [
          {
            node: "n",
            cpuCores: 64,
            memoryBytes: 2 ** 40,
            gpus: Array.from({ length: 8 }, (_, index) => ({
              id: String(index),
              type: "H200-141GB",
              name: "NVIDIA H200",
              memoryBytes: 143_771 * 2 ** 20,
              usable: true,
              reason: null,
            })),
          },
        ],
        engineRunsOn: "gpu",
        engineMemory: null,
        measured: null,
      });
      took.push(performance.now() - startedAtMs);
      const after = await server.counts();
      bytes = after.sentBytes - before.sentBytes;
      requests = after.requests - before.requests;
      answer = `${(facts.weightBytes / 1e9).toFixed(0)} GB, ${facts.isCounted ? "counted" : "inferred in part"}, ${found?.verdict ?? "unknown"} on 4 x H200`;
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  }
  const ms = median(took);
  isWithin &&= bytes <= bars.bytes && ms <= bars.ms;
  console.log(
    `${repo}: ${(bytes / 1e6).toFixed(2)} MB fetched (bar ${bars.bytes / 1e6}), ${requests} requests, ` +
      `${(ms / 1000).toFixed(2)} s (bar ${bars.ms / 1000}; ${took.map((one) => (one / 1000).toFixed(2)).join(" ")}): ${answer}`,
  );
}
await server.close();
process.exitCode = isWithin ? 0 : 1;
