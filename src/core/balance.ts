/**
 * Which instance takes the next request. Pure: given what each instance has in flight, what it was given lately and how
 * much of the prompt it has cached, answers an id. Owns the order of preference; must not count slots itself (queue.ts
 * does) nor look at requests' contents.
 *
 * Without anything cached the least in flight wins. With it, each instance has a price in blocks of prompt: those it would
 * have to compute, more for each request it has in flight, more for having been given more than its share lately. So a
 * long shared beginning draws a request to where it is cached, while a system prompt that everybody shares, a few blocks
 * long, yields to a small difference in load. Whoever has half as much again in flight as the mean takes nothing. An adapter that an instance has loaded would be one more term of
 * the price.
 */

/** An instance with a free slot. */
export type Candidate = {
  readonly id: string;
  /** Requests it serves at once. */
  readonly slots: number;
  readonly inFlight: number;
  /** Requests it was given, each counting less as time passes. */
  readonly recent: number;
  /** Leading blocks of the prompt that it has cached. */
  readonly cachedBlocks: number;
};

/** Blocks of prompt (64 tokens each) that one request in flight weighs. */
const inFlightBlocks = 8;
/** Blocks of prompt that an instance's whole share of the recent requests weighs. */
const recentBlocks = 64;
/** In flight at most this many times the mean, and one more. */
const maxOverMean = 1.5;

/** @returns null when there is no candidate */
export function chooseInstance(candidates: readonly Candidate[]): string | null {
  const hasCache = candidates.some((candidate) => candidate.cachedBlocks > 0);
  return (hasCache ? cheapest(candidates) : best(candidates, isLessLoaded))?.id ?? null;
}

function cheapest(candidates: readonly Candidate[]): Candidate | null {
  const inFlight = candidates.reduce((sum, one) => sum + one.inFlight, 0);
  const recent = candidates.reduce((sum, one) => sum + one.recent, 0) / candidates.length;
  const most = Math.ceil((maxOverMean * (inFlight + 1)) / candidates.length);
  const price = (one: Candidate) =>
    inFlightBlocks * one.inFlight +
    (recent > 0 ? (recentBlocks * one.recent) / recent : 0) -
    one.cachedBlocks;
  const bounded = candidates.filter((one) => one.inFlight <= most);
  return best(bounded, (one, other) => price(one) < price(other));
}

/** Fewer in flight; among equals more free slots, then fewer lately. */
function isLessLoaded(one: Candidate, other: Candidate): boolean {
  if (one.inFlight !== other.inFlight) return one.inFlight < other.inFlight;
  if (one.slots !== other.slots) return one.slots > other.slots;
  return one.recent < other.recent;
}

function best(
  candidates: readonly Candidate[],
  isBetter: (one: Candidate, other: Candidate) => boolean,
): Candidate | null {
  let found: Candidate | null = null;
  for (const candidate of candidates) if (found === null || isBetter(candidate, found)) found = candidate;
  return found;
}
