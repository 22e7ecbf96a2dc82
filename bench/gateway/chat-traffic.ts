/**
 * An hour of chat traffic in blocks of prompt: read from a public trace, or made up with the figures of that trace. Owns
 * the figures; must not know instances.
 *
 * The figures are those of Mooncake's conversation trace (Qin et al., FAST 2025, Apache-2.0,
 * https://github.com/kvcache-ai/Mooncake, conversation_trace.jsonl): 12,031 requests in 3,537 s, each a list of the ids of
 * its 512-token blocks. All begin with the same block, the system prompt. 39 % go on where an earlier request ended, after
 * 42, 123 and 483 s (10 %, half, 90 % of them), and add 1, 2 and 20 blocks; the others begin anew with 2, 11 and 50.
 * Answers have 24, 350 and 597 tokens.
 */
import { readFileSync } from "node:fs";

export const tokensPerBlock = 512;

export type ChatRequest = {
  readonly atMs: number;
  /** Ids of the blocks of its prompt; equal ids are equal beginnings. */
  readonly blocks: readonly number[];
  readonly outputTokens: number;
};

const requests = 12_031;
const spanMs = 3_537_000;
const goesOnShare = 0.39;

/** A trace in Mooncake's form, one JSON object a line. */
export function readTrace(path: string): ChatRequest[] {
  const lines = readFileSync(path, "utf8").trim().split("\n");
  return lines.map((line) => {
    const row = JSON.parse(line) as { timestamp: number; output_length: number; hash_ids: number[] };
    return { atMs: row.timestamp, blocks: row.hash_ids, outputTokens: row.output_length };
  });
}

/** The same sequence for the same seed. */
export function makeTraffic(seed: number): ChatRequest[] {
  const random = randomFrom(seed);
  let nextBlock = 1;
  const grow = (count: number) => Array.from({ length: count }, () => nextBlock++);
  const past: ChatRequest[] = [];
  for (let i = 0; i < requests; i += 1) {
    const atMs = Math.floor((i * spanMs) / requests);
    const outputTokens = between(random(), [24, 350, 597]);
    const goesOn = random() < goesOnShare;
    const earlier = goesOn ? openAt(past, atMs - between(random(), [42_000, 123_000, 483_000])) : null;
    const blocks =
      earlier === null
        ? [0, ...grow(between(random(), [1, 10, 49]))]
        : [...earlier.blocks, ...grow(between(random(), [1, 2, 20]))];
    past.push({ atMs, blocks, outputTokens });
  }
  return past;
}

/** The newest request that is as old as that. */
function openAt(past: readonly ChatRequest[], atMs: number): ChatRequest | null {
  return past[Math.floor((Math.max(0, atMs) * requests) / spanMs)] ?? null;
}

/** A value at this rank of a distribution of which the 10th, 50th and 90th percentile are known; the logarithm is linear between. */
function between(rank: number, [low, middle, high]: readonly [number, number, number]): number {
  const [from, to, share] =
    rank < 0.5 ? [low, middle, (rank - 0.1) / 0.4] : [middle, high, (rank - 0.5) / 0.4];
  return Math.max(1, Math.round(from * (to / from) ** Math.min(1.5, Math.max(0, share))));
}

/** Numbers from 0 to 1 (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
