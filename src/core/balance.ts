/**
 * Which instance takes the next request. Pure: given what each instance has in flight, answers an id. Owns the order of
 * preference; must not count slots itself (queue.ts does) nor look at requests' contents.
 */

/** An instance with a free slot. */
export type Candidate = {
  readonly id: string;
  /** Requests it serves at once. */
  readonly slots: number;
  readonly inFlight: number;
};

/**
 * The candidate with the fewest requests in flight; among equals the one with more free slots, then the first, so that
 * a lone caller keeps meeting the instance that has its prefix cached.
 * @returns null when there is no candidate
 */
export function chooseInstance(candidates: readonly Candidate[]): string | null {
  let best: Candidate | null = null;
  for (const candidate of candidates) {
    if (best === null || isBetter(candidate, best)) best = candidate;
  }
  return best?.id ?? null;
}

function isBetter(one: Candidate, other: Candidate): boolean {
  if (one.inFlight !== other.inFlight) return one.inFlight < other.inFlight;
  return one.slots - one.inFlight > other.slots - other.inFlight;
}
