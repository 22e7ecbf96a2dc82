/**
 * What an account, or a token, may use of one model: requests and tokens a minute, requests at once. Pure: the time is a value. Owns
 * the counts of the last minute; must not know the line nor answer anyone.
 */
import type { RouteRates } from "./routing.ts";

export type Limit = "concurrent_requests" | "requests_per_minute" | "tokens_per_minute";

/** A limit that a request would exceed. */
export type Exceeded = {
  readonly limit: Limit;
  readonly allowed: number;
  /** Until the request would fit, by what is known now; null when that depends on others' ends. */
  readonly retryMs: number | null;
};

/** What was used in a second, counted since the epoch. */
export type UsedInSecond = readonly [second: number, amount: number];

/** What is over of somebody's last minute: for the next process that counts. */
export type PastUse = {
  readonly name: string;
  readonly requests: readonly UsedInSecond[];
  readonly tokens: readonly UsedInSecond[];
};

const windowMs = 60_000;
const bucketMs = 1000;
const buckets = windowMs / bucketMs;

/** A sum over the last minute, exact to a second. */
class MinuteSum {
  readonly #sums = new Float64Array(buckets);
  /** The bucket of the newest second, counted since the epoch. */
  #newest = 0;

  add(amount: number, nowMs: number): void {
    this.#advance(nowMs);
    const at = this.#newest % buckets;
    this.#sums[at] = (this.#sums[at] ?? 0) + amount;
  }

  /** Of what was added at `atMs`, this much was not so; nothing when that is more than a minute ago. */
  takeBack(amount: number, atMs: number, nowMs: number): void {
    this.#advance(nowMs);
    const second = Math.floor(atMs / bucketMs);
    if (second <= this.#newest - buckets) return;
    const at = second % buckets;
    this.#sums[at] = Math.max(0, (this.#sums[at] ?? 0) - amount);
  }

  /** Adds what another process has counted. */
  adopt(past: readonly UsedInSecond[], nowMs: number): void {
    this.#advance(nowMs);
    for (const [second, amount] of past) {
      if (second <= this.#newest - buckets || second > this.#newest) continue;
      const at = second % buckets;
      this.#sums[at] = (this.#sums[at] ?? 0) + amount;
    }
  }

  /** All that is counted but `less`, which is taken from the newest. */
  past(less: number, nowMs: number): UsedInSecond[] {
    this.#advance(nowMs);
    const past: UsedInSecond[] = [];
    let left = less;
    for (let age = 0; age < buckets; age += 1) {
      const second = this.#newest - age;
      const amount = this.#sums[(second + buckets) % buckets] ?? 0;
      const taken = Math.min(left, amount);
      left -= taken;
      if (amount > taken) past.push([second, amount - taken]);
    }
    return past;
  }

  sum(nowMs: number): number {
    this.#advance(nowMs);
    return this.#sums.reduce((sum, one) => sum + one, 0);
  }

  /** Milliseconds until at most `allowed` is left of what is counted now. */
  msUntil(allowed: number, nowMs: number): number {
    let left = this.sum(nowMs);
    for (let age = buckets - 1; age >= 0 && left > allowed; age -= 1) {
      left -= this.#sums[(this.#newest - age + buckets) % buckets] ?? 0;
      if (left <= allowed) return (this.#newest - age + buckets) * bucketMs - nowMs;
    }
    return 0;
  }

  #advance(nowMs: number): void {
    const second = Math.max(this.#newest, Math.floor(nowMs / bucketMs));
    const gone = Math.min(buckets, second - this.#newest);
    for (let i = 1; i <= gone; i += 1) this.#sums[(this.#newest + i) % buckets] = 0;
    this.#newest = second;
  }
}

type Use = {
  readonly requests: MinuteSum;
  readonly tokens: MinuteSum;
  /** Requests under way, and what was guessed of their tokens. */
  concurrent: number;
  guessed: number;
};

/** Counts of one model. */
export class RateLimits {
  readonly #uses = new Map<string, Use>();
  #limits: ReadonlyMap<string, RouteRates> = new Map();

  setLimits(limits: readonly RouteRates[]): void {
    this.#limits = new Map(limits.map((one) => [one.name, one]));
    for (const [name, use] of this.#uses) {
      // What is under way is counted to its end, so that a limit that comes back finds the truth.
      if (!this.#limits.has(name) && use.concurrent === 0) this.#uses.delete(name);
    }
  }

  /** What one more request would exceed; nothing is counted. */
  check(name: string, tokens: number, nowMs: number): Exceeded | null {
    const limits = this.#limits.size === 0 ? undefined : this.#limits.get(name);
    return limits === undefined ? null : exceededBy(limits, this.#useOf(name), tokens, nowMs);
  }

  /**
   * Counts a request that comes in.
   * @param isReturning it was let in before: its request was counted then
   */
  enter(name: string, tokens: number, nowMs: number, isReturning: boolean): void {
    if (this.#limits.size === 0 || !this.#limits.has(name)) return;
    const use = this.#useOf(name);
    if (!isReturning) use.requests.add(1, nowMs);
    use.tokens.add(tokens, nowMs);
    use.concurrent += 1;
    use.guessed += tokens;
  }

  /** A request that came in at `enteredAtMs` with a guess is over; `used` is null where nobody counted. */
  leave(name: string, guessed: number, used: number | null, enteredAtMs: number, nowMs: number): void {
    const use = this.#uses.size === 0 ? undefined : this.#uses.get(name);
    if (use === undefined) return;
    use.concurrent = Math.max(0, use.concurrent - 1);
    use.guessed = use.concurrent === 0 ? 0 : Math.max(0, use.guessed - guessed);
    const more = (used ?? guessed) - guessed;
    if (more > 0) use.tokens.add(more, nowMs);
    else use.tokens.takeBack(-more, enteredAtMs, nowMs);
    if (use.concurrent === 0 && !this.#limits.has(name)) this.#uses.delete(name);
  }

  /** What is over, of at most so many names. What is under way is not: it is counted again by whoever counts next. */
  past(most: number, nowMs: number): PastUse[] {
    const past: PastUse[] = [];
    for (const [name, use] of this.#uses) {
      const [requests, tokens] = [use.requests.past(0, nowMs), use.tokens.past(use.guessed, nowMs)];
      if (requests.length + tokens.length > 0) past.push({ name, requests, tokens });
      if (past.length === most) break;
    }
    return past;
  }

  adopt(past: readonly PastUse[], nowMs: number): void {
    for (const { name, requests, tokens } of past) {
      const use = this.#useOf(name);
      use.requests.adopt(requests, nowMs);
      use.tokens.adopt(tokens, nowMs);
    }
  }

  #useOf(name: string): Use {
    let use = this.#uses.get(name);
    if (use === undefined) {
      use = { requests: new MinuteSum(), tokens: new MinuteSum(), concurrent: 0, guessed: 0 };
      this.#uses.set(name, use);
    }
    return use;
  }
}

function exceededBy(limits: RouteRates, use: Use, tokens: number, nowMs: number): Exceeded | null {
  const { concurrentRequests, requestsPerMinute, tokensPerMinute } = limits;
  if (concurrentRequests !== null && use.concurrent >= concurrentRequests) {
    return { limit: "concurrent_requests", allowed: concurrentRequests, retryMs: null };
  }
  if (requestsPerMinute !== null && use.requests.sum(nowMs) >= requestsPerMinute) {
    const retryMs = use.requests.msUntil(requestsPerMinute - 1, nowMs);
    return { limit: "requests_per_minute", allowed: requestsPerMinute, retryMs };
  }
  if (tokensPerMinute === null) return null;
  const used = use.tokens.sum(nowMs);
  // A request that is larger than the limit alone is let in when nothing else counts: it could never be otherwise.
  if (used + tokens <= tokensPerMinute || (used === 0 && tokensPerMinute > 0)) return null;
  const retryMs = use.tokens.msUntil(Math.max(0, tokensPerMinute - tokens), nowMs);
  return { limit: "tokens_per_minute", allowed: tokensPerMinute, retryMs };
}
