/**
 * Prefix affinity on an hour of chat traffic, in simulated time: the line and the balance that the gateway runs, in front
 * of instances that keep the prompts they saw last. The bar: the busiest instance has at most 1.25 times the mean load,
 * and the hit rate is at least 90 % of what it is where every request goes to the longest match, whatever the load.
 *
 *   node bench/gateway/affinity.ts [a trace in Mooncake's form; without it, traffic made up with its figures]
 *
 * "Keeps all" has room for everything an instance saw, where affinity without a bound is at its best. With room for 3,000
 * blocks the load that it piles onto few instances pushes out what they had.
 */
import { SlotQueue } from "../../src/core/queue.ts";
import { type ChatRequest, makeTraffic, readTrace, tokensPerBlock } from "./chat-traffic.ts";

const maxOverMeanLimit = 1.25;
const hitShareLimit = 0.9;

/** What an instance does: slots, prompt tokens a second, time for each token of the answer. */
const slots = 64;
const prefillTokensPerS = 6000;
const decodeMs = 25;
/** Of the gateway's keys, in each of the first two blocks of a trace; then one each. */
const fineKeys = 8;

type World = { readonly instances: number; readonly cacheBlocks: number };
type Result = { readonly hitRate: number; readonly requests: number; readonly work: number };
type Choose = (request: ChatRequest, nowMs: number, caches: readonly Cache[]) => number;

/** Blocks of prompts that an instance keeps, those it used last. */
class Cache {
  readonly #blocks = new Map<number, true>();
  readonly #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  match(blocks: readonly number[]): number {
    const missing = blocks.findIndex((block) => !this.#blocks.has(block));
    return missing === -1 ? blocks.length : missing;
  }

  keep(blocks: readonly number[]): void {
    for (const block of blocks.toReversed()) {
      this.#blocks.delete(block);
      this.#blocks.set(block, true);
    }
    for (const block of this.#blocks.keys()) {
      if (this.#blocks.size <= this.#room) return;
      this.#blocks.delete(block);
    }
  }
}

function replay(
  traffic: readonly ChatRequest[],
  world: World,
  choose: Choose,
  onEnd: (at: number) => void,
): Result {
  const caches = Array.from({ length: world.instances }, () => new Cache(world.cacheBlocks));
  const counts = caches.map(() => 0);
  const works = caches.map(() => 0);
  let running: { endsAtMs: number; at: number }[] = [];
  let [hits, blocks] = [0, 0];
  for (const request of traffic) {
    const ended = running.filter((one) => one.endsAtMs <= request.atMs);
    running = running.filter((one) => one.endsAtMs > request.atMs);
    for (const { at } of ended) onEnd(at);
    const at = choose(request, request.atMs, caches);
    const hit = caches[at]?.match(request.blocks) ?? 0;
    caches[at]?.keep(request.blocks);
    const missing = (request.blocks.length - hit) * tokensPerBlock;
    const workMs = (missing / prefillTokensPerS) * 1000 + request.outputTokens * decodeMs;
    counts[at] = (counts[at] ?? 0) + 1;
    works[at] = (works[at] ?? 0) + workMs;
    hits += hit;
    blocks += request.blocks.length;
    running.push({ endsAtMs: request.atMs + workMs, at });
  }
  return { hitRate: hits / blocks, requests: maxOverMean(counts), work: maxOverMean(works) };
}

/** The gateway's own line and balance. */
function byGateway(traffic: readonly ChatRequest[], world: World): Result {
  const queue = new SlotQueue();
  queue.setInstances(
    Array.from({ length: world.instances }, (_, i) => ({ id: `${i}`, slots, isDraining: false })),
  );
  const choose: Choose = (request, nowMs) => {
    const prefix = request.blocks.flatMap((block, at) =>
      Array.from({ length: at < 2 ? fineKeys : 1 }, (_, i) => block * fineKeys + i),
    );
    const tokens = request.blocks.length * tokensPerBlock + request.outputTokens;
    const claim = { account: "one", tokenId: "one", tier: "default", tokens, promptTokens: tokens } as const;
    const id = queue.take({ ...claim, bytes: 0, prefix, avoid: [] }, nowMs);
    if (id === null) throw new Error("all slots are taken: give the instances more");
    return Number(id);
  };
  return replay(traffic, world, choose, (at) => queue.release(`${at}`));
}

/** The longest match wins whatever the load; among equals whoever has fewer in flight. */
function unbounded(traffic: readonly ChatRequest[], world: World): Result {
  const inFlight = Array.from({ length: world.instances }, () => 0);
  const choose: Choose = ({ blocks }, _nowMs, caches) => {
    const matches = caches.map((cache) => cache.match(blocks));
    const longest = Math.max(...matches);
    const fewest = Math.min(...inFlight.filter((_, at) => matches[at] === longest));
    const chosen = matches.findIndex((match, at) => match === longest && inFlight[at] === fewest);
    inFlight[chosen] = (inFlight[chosen] ?? 0) + 1;
    return chosen;
  };
  return replay(traffic, world, choose, (at) => {
    inFlight[at] = (inFlight[at] ?? 0) - 1;
  });
}

function maxOverMean(values: readonly number[]): number {
  return (Math.max(...values) * values.length) / values.reduce((sum, value) => sum + value, 0);
}

const path = process.argv[2];
const traffic = path === undefined ? makeTraffic(1) : readTrace(path);
console.log(`${traffic.length} requests, ${path === undefined ? "made up" : "from the trace"}`);
console.log("instances  cache      hit rate  unbounded  share   max/mean requests  max/mean work");
let isWithin = true;
for (const instances of [2, 4, 8, 16]) {
  for (const cacheBlocks of [3000, Number.POSITIVE_INFINITY]) {
    const world = { instances, cacheBlocks };
    const [ours, free] = [byGateway(traffic, world), unbounded(traffic, world)];
    const share = ours.hitRate / free.hitRate;
    isWithin &&= share >= hitShareLimit && Math.max(ours.requests, ours.work) <= maxOverMeanLimit;
    const cells = [
      String(instances).padEnd(11),
      (Number.isFinite(cacheBlocks) ? String(cacheBlocks) : "keeps all").padEnd(11),
      ours.hitRate.toFixed(3).padEnd(10),
      free.hitRate.toFixed(3).padEnd(11),
      share.toFixed(2).padEnd(8),
      ours.requests.toFixed(2).padEnd(19),
      ours.work.toFixed(2),
    ];
    console.log(cells.join(""));
  }
}
console.log(
  `bar: share at least ${hitShareLimit}, both max/mean at most ${maxOverMeanLimit}: ${isWithin ? "held" : "MISSED"}`,
);
process.exitCode = isWithin ? 0 : 1;
