/**
 * One pull by Berth's hub, in a process that does nothing else, as control would: prints how long it took and how long
 * its event loop was held up.
 *
 *   node bench/hub/pull.ts URL HOME [maximum of connections]
 */
import { createHub, type HubOptions } from "../../src/hub/hub.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import type { PullReport } from "./stand.ts";

const [endpoint = "", home = "", maxConnections] = process.argv.slice(2);
const limits = maxConnections === undefined ? {} : { maxConnections: Number(maxConnections) };
const options: HubOptions = {
  ...{ home, endpoint, clock: systemClock, limits, builtin: new Map(), allowPrivateRedirects: true },
  // Nothing is inspected here, so nobody asks.
  chooseFiles: () => {
    throw new Error("a pull chooses no files");
  },
};
const hub = createHub(options);
const { signal } = new AbortController();

/** A timer that is due every millisecond is late by as much as the loop was held up. */
const tickMs = 1;
const stalls: number[] = [];
let lastMs = performance.now();
const timer = setInterval(() => {
  const nowMs = performance.now();
  stalls.push(Math.max(0, nowMs - lastMs - tickMs));
  lastMs = nowMs;
}, tickMs);

const startedAtMs = performance.now();
const listed = await hub.list({ repo: "bench/model", revision: null }, null, signal);
if (!listed.ok) throw new Error(listed.failure.message);
const { commit, files } = listed.value;
const fetched = await hub.fetch("bench/model", commit, files, null, () => undefined, signal);
if (!fetched.ok) throw new Error(fetched.failure.message);
const tookMs = performance.now() - startedAtMs;
clearInterval(timer);

stalls.sort((a, b) => a - b);
const at = (share: number) => stalls[Math.min(stalls.length - 1, Math.floor(stalls.length * share))] ?? 0;
const report: PullReport = { tookMs, stallP50Ms: at(0.5), stallP99Ms: at(0.99), stallMaxMs: at(1) };
console.log(JSON.stringify(report));
process.exit(0);
