/**
 * The fair order of those who wait: between accounts, then between an account's tokens, by the work done for each; first
 * come first served within one. Pure bookkeeping. Owns the counters of work; must not know slots, instances or time.
 *
 * Each account has a counter of tokens of work, and who has the least goes next. What is charged when a request starts is
 * a guess that is corrected when it is over. Whoever begins to wait starts level with those who are served now: nobody is
 * punished for having used what nobody else wanted, and nobody saves up by not asking. For two that wait all the time,
 * what they get differs by no more than twice the largest request (start-time fair queueing, Goyal et al. 1996, with the
 * token counters of VTC, Sheng et al. 2024).
 */

/** Whose work it is. */
export type Payer = {
  readonly account: string;
  /** API token; a scoped JWT counts as its parent. */
  readonly tokenId: string;
};

/** Counters that are kept of those who do not wait; above, the lowest are forgotten. */
const maxIdle = 10_000;

/** One level: shares of one whole, each with what waits for it. */
class Shares<Waiting> {
  readonly #counters = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting>();
  /** Counter of whoever was served last: where newcomers start. */
  #level = 0;

  waitingOf(key: string): Waiting | undefined {
    return this.#waiting.get(key);
  }

  values(): Iterable<Waiting> {
    return this.#waiting.values();
  }

  beginWaiting(key: string, waiting: Waiting): void {
    this.#arrive(key);
    this.#waiting.set(key, waiting);
  }

  endWaiting(key: string): void {
    this.#waiting.delete(key);
    this.#forget();
  }

  /** The key that waits and has had least; null when none waits. */
  next(): string | null {
    let best: string | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (const key of this.#waiting.keys()) {
      const counter = this.#counters.get(key) ?? this.#level;
      if (counter < least) [best, least] = [key, counter];
    }
    return best;
  }

  /** Work begins for the key. */
  start(key: string, work: number): void {
    const counter = this.#waiting.has(key) ? (this.#counters.get(key) ?? this.#level) : this.#arrive(key);
    this.#level = Math.max(this.#level, counter);
    this.#counters.set(key, counter + work);
  }

  /** The work of the key was this much more than was charged, or less. */
  correct(key: string, work: number): void {
    const counter = this.#counters.get(key);
    // A counter that was forgotten was no higher than the level: only a debt is worth remembering.
    if (counter !== undefined || work > 0) this.#counters.set(key, (counter ?? this.#level) + work);
  }

  #arrive(key: string): number {
    const known = this.#counters.get(key);
    if (known === undefined) this.#forget();
    const counter = Math.max(known ?? 0, this.#level);
    this.#counters.set(key, counter);
    return counter;
  }

  /** Drops counters that say nothing: whoever comes back starts at the level anyway. */
  #forget(): void {
    if (this.#counters.size <= maxIdle + this.#waiting.size) return;
    const idle = [...this.#counters].filter(([key]) => !this.#waiting.has(key)).sort((a, b) => a[1] - b[1]);
    for (const [at, [key, counter]] of idle.entries()) {
      if (counter <= this.#level || at < idle.length / 2) this.#counters.delete(key);
    }
  }
}

/** An account that waits. */
type AccountLine<Ticket> = {
  readonly tokens: Shares<Set<Ticket>>;
  waiting: number;
};

export class FairLine<Ticket extends Payer> {
  readonly #accounts = new Shares<AccountLine<Ticket>>();
  /** Counters of tokens outlive the waiting of their account. */
  readonly #tokens = new Map<string, Shares<Set<Ticket>>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  waitingOf(account: string): number {
    return this.#accounts.waitingOf(account)?.waiting ?? 0;
  }

  /** How many go before the account's next ticket, about: its own, and as many of each other account and one more. */
  ahead(account: string): number {
    const own = this.waitingOf(account);
    let count = 0;
    for (const line of this.#accounts.values()) count += Math.min(line.waiting, own + 1);
    return count;
  }

  add(ticket: Ticket): void {
    let line = this.#accounts.waitingOf(ticket.account);
    if (line === undefined) {
      line = { tokens: this.#tokensOf(ticket.account), waiting: 0 };
      this.#accounts.beginWaiting(ticket.account, line);
    }
    const queue = line.tokens.waitingOf(ticket.tokenId);
    if (queue === undefined) line.tokens.beginWaiting(ticket.tokenId, new Set([ticket]));
    else queue.add(ticket);
    line.waiting += 1;
    this.#size += 1;
  }

  /** False when the ticket was not in the line. */
  remove(ticket: Ticket): boolean {
    const line = this.#accounts.waitingOf(ticket.account);
    const queue = line?.tokens.waitingOf(ticket.tokenId);
    if (line === undefined || queue?.delete(ticket) !== true) return false;
    if (queue.size === 0) line.tokens.endWaiting(ticket.tokenId);
    line.waiting -= 1;
    if (line.waiting === 0) this.#accounts.endWaiting(ticket.account);
    this.#size -= 1;
    return true;
  }

  /** Who goes next; it stays in the line. Null when nobody waits. */
  peek(): Ticket | null {
    const account = this.#accounts.next();
    if (account === null) return null;
    const tokens = this.#tokensOf(account);
    const queue = tokens.waitingOf(tokens.next() ?? "");
    return queue?.values().next().value ?? null;
  }

  /** Work begins for the payer: call before it leaves the line. */
  start(payer: Payer, work: number): void {
    this.#accounts.start(payer.account, work);
    this.#tokensOf(payer.account).start(payer.tokenId, work);
  }

  correct(payer: Payer, work: number): void {
    this.#accounts.correct(payer.account, work);
    this.#tokensOf(payer.account).correct(payer.tokenId, work);
  }

  /** Everyone, in no order. */
  *everyone(): Iterable<Ticket> {
    for (const line of this.#accounts.values()) for (const queue of line.tokens.values()) yield* queue;
  }

  /** The newest of the account that has most waiting, when that is more than `atLeast`; null otherwise. */
  newestOfLongest(atLeast: number): Ticket | null {
    let longest: AccountLine<Ticket> | null = null;
    for (const line of this.#accounts.values()) {
      if (line.waiting > (longest?.waiting ?? atLeast)) longest = line;
    }
    let queue: Set<Ticket> | null = null;
    for (const one of longest?.tokens.values() ?? []) if (one.size > (queue?.size ?? 0)) queue = one;
    return queue === null ? null : ([...queue].at(-1) ?? null);
  }

  #tokensOf(account: string): Shares<Set<Ticket>> {
    let tokens = this.#tokens.get(account);
    if (tokens === undefined) {
      tokens = new Shares();
      this.#tokens.set(account, tokens);
      if (this.#tokens.size > maxIdle) this.#forgetTokens();
    }
    return tokens;
  }

  #forgetTokens(): void {
    for (const account of this.#tokens.keys()) {
      if (this.#tokens.size <= maxIdle / 2) return;
      if (this.#accounts.waitingOf(account) === undefined) this.#tokens.delete(account);
    }
  }
}
