/**
 * The line in front of one deployment's instances. Pure bookkeeping: it takes values (the time among them) and answers
 * who goes where. Owns these promises: an instance never holds more requests than its slots, no slot is free while
 * somebody waits that may have it, nobody is lost, and the order is that of the tiers and, within one, fairness.ts's. Must
 * not know what a ticket is beyond its claim, start timers or do I/O.
 *
 * Tiers go in order: priority, default, flex. So that none starves, a tier that waits is passed over by higher ones a
 * limited number of times in a row: of 9 slots that are handed out while default waits, it gets one; of 34, flex does.
 */
import { PrefixIndex } from "./affinity.ts";
import { type Candidate, chooseInstance } from "./balance.ts";
import { FairLine, type Payer } from "./fairness.ts";

export type SlotInstance = {
  readonly id: string;
  /** Requests it serves at once. */
  readonly slots: number;
  /** Takes nothing new. */
  readonly isDraining: boolean;
};

/** Priority goes before default, default before flex. */
export type Tier = "priority" | "default" | "flex";

/** What a request claims: the line looks at nothing else. */
export type Claim = Payer & {
  readonly tier: Tier;
  /** Guess of the prompt and generated tokens. */
  readonly tokens: number;
  /** Of the guess, the prompt's. */
  readonly promptTokens: number;
  /** Bytes it holds while it waits. */
  readonly bytes: number;
  /** Of affinity.ts. */
  readonly prefix: readonly number[];
  /** Instances that come last: it has failed there. */
  readonly avoid: readonly string[];
};

export type LineLimits = {
  readonly requests: number;
  readonly bytes: number;
};

/** A ticket may go to an instance; the instance's slot is taken already. */
export type Grant<Ticket> = { readonly ticket: Ticket; readonly instanceId: string };

type Seat = {
  slots: number;
  /** False when draining or no longer listed: what it has in flight still counts until released. */
  isOpen: boolean;
  isListed: boolean;
  inFlight: number;
  /** Takes nothing new before this time; 0 when it is not paused. */
  pausedUntilMs: number;
  /** Requests it was given, each counting half after every `recentHalfMs`; as of `recentAtMs`. */
  recent: number;
  recentAtMs: number;
};

const tiers: readonly Tier[] = ["priority", "default", "flex"];
/** Times in a row that a waiting tier is passed over. */
const maxPasses: Readonly<Record<Tier, number>> = { priority: 0, default: 8, flex: 32 };
const recentHalfMs = 200_000;

export class SlotQueue<Ticket extends Claim> {
  readonly #seats = new Map<string, Seat>();
  readonly #prefixes = new PrefixIndex();
  /** Tickets that had a slot and came back unserved: they go before everyone, in the order they came back. */
  readonly #returned = new Set<Ticket>();
  readonly #lines: Readonly<Record<Tier, FairLine<Ticket>>> = {
    priority: new FairLine(),
    default: new FairLine(),
    flex: new FairLine(),
  };
  readonly #passes: Record<Tier, number> = { priority: 0, default: 0, flex: 0 };
  readonly #bytes = new Map<string, number>();
  #allBytes = 0;

  /** Tickets that wait. */
  get waiting(): number {
    const { priority, default: usual, flex } = this.#lines;
    return this.#returned.size + priority.size + usual.size + flex.size;
  }

  /** Slots taken, at all instances. */
  get running(): number {
    let sum = 0;
    for (const seat of this.#seats.values()) sum += seat.inFlight;
    return sum;
  }

  /** Slots of the instances that take requests, free or not. */
  get openSlots(): number {
    let sum = 0;
    for (const seat of this.#seats.values()) if (seat.isOpen) sum += seat.slots;
    return sum;
  }

  inFlight(instanceId: string): number {
    return this.#seats.get(instanceId)?.inFlight ?? 0;
  }

  /** Instances with something in flight, among them ones that are no longer listed. */
  busyInstances(): string[] {
    return [...this.#seats].filter(([, seat]) => seat.inFlight > 0).map(([id]) => id);
  }

  /** Replaces the list. An instance that vanished takes nothing new; what it has in flight stays counted. */
  setInstances(instances: readonly SlotInstance[]): void {
    for (const seat of this.#seats.values()) {
      seat.isListed = false;
      seat.isOpen = false;
    }
    for (const { id, slots, isDraining } of instances) {
      const seat = this.#seatOf(id);
      seat.slots = slots;
      seat.isOpen = !isDraining;
      seat.isListed = true;
    }
    for (const [id, seat] of this.#seats) this.#forgetIfGone(id, seat);
    this.#prefixes.keep(new Set(this.#seats.keys()));
  }

  /** Takes a slot at once when one is free and nobody waits; answers the instance, or null. */
  take(claim: Claim, nowMs: number): string | null {
    const instanceId = this.waiting > 0 ? null : this.#takeSlot(claim, nowMs);
    if (instanceId !== null) this.#lines[claim.tier].start(claim, claim.tokens);
    return instanceId;
  }

  /**
   * Joins the line. Where it is full, the newest ticket of the account that has most in it gives way to an account that
   * has fewer, so that nobody fills the line for everybody.
   * @returns joined: whether it did; ousted: who had to leave for it
   */
  join(ticket: Ticket, limits: LineLimits): { readonly joined: boolean; readonly ousted: Ticket | null } {
    if (!this.#fits(ticket, limits)) return { joined: false, ousted: null };
    let ousted: Ticket | null = null;
    if (this.waiting >= limits.requests) {
      ousted = this.#whoGivesWay(ticket);
      if (ousted === null) return { joined: false, ousted: null };
      this.leave(ousted);
    }
    this.#lines[ticket.tier].add(ticket);
    this.#countBytes(ticket, 1);
    return { joined: true, ousted };
  }

  /** Joins before those who never had a slot, whatever the limit: it was counted before. */
  rejoin(ticket: Ticket): void {
    this.#returned.add(ticket);
    this.#countBytes(ticket, 1);
  }

  /** Leaves the line; false when the ticket was not in it. */
  leave(ticket: Ticket): boolean {
    const wasThere = this.#returned.delete(ticket) || this.#lines[ticket.tier].remove(ticket);
    if (wasThere) this.#countBytes(ticket, -1);
    return wasThere;
  }

  /** Empties the line and answers who was in it. */
  dismiss(): Ticket[] {
    const everyone = [...this.#returned, ...tiers.flatMap((tier) => [...this.#lines[tier].everyone()])];
    for (const ticket of everyone) this.leave(ticket);
    return everyone;
  }

  /** Gives free slots to those whose turn it is. Call after anything that may have freed one. */
  grant(nowMs: number): Grant<Ticket>[] {
    const grants: Grant<Ticket>[] = [];
    while (this.waiting > 0) {
      const [back] = this.#returned;
      const tier = back === undefined ? this.#nextTier() : null;
      const ticket = back ?? (tier === null ? null : this.#lines[tier].peek());
      const instanceId = ticket === null ? null : this.#takeSlot(ticket, nowMs);
      if (ticket === null || instanceId === null) break;
      if (tier !== null) this.#countPasses(tier);
      this.#lines[ticket.tier].start(ticket, ticket.tokens);
      this.leave(ticket);
      grants.push({ ticket, instanceId });
    }
    return grants;
  }

  /** What a claim that was granted really took: its account is charged that in place of the guess. */
  correct(claim: Claim, tokens: number): void {
    this.#lines[claim.tier].correct(claim, tokens - claim.tokens);
  }

  /** How many of those who wait go before a newcomer with this claim, about. */
  ahead({ account, tier }: Pick<Claim, "account" | "tier">): number {
    const higher = tiers.slice(0, tiers.indexOf(tier));
    return higher.reduce(
      (sum, one) => sum + this.#lines[one].size,
      this.#returned.size + this.#lines[tier].ahead(account),
    );
  }

  /** Counts a request that is at the instance already, let in by another line, whatever slots there are. */
  hold(claim: Claim, instanceId: string): void {
    this.#seatOf(instanceId).inFlight += 1;
    this.#lines[claim.tier].start(claim, claim.tokens);
  }

  /** Gives a slot back. Throws when the instance has none taken: a slot was given back twice. */
  release(instanceId: string): void {
    const seat = this.#seats.get(instanceId);
    if (seat === undefined || seat.inFlight === 0)
      throw new Error(`instance ${instanceId} has no slot taken`);
    seat.inFlight -= 1;
    this.#forgetIfGone(instanceId, seat);
  }

  /** The instance takes nothing new before `untilMs`: it refused a request a moment ago. */
  pause(instanceId: string, untilMs: number): void {
    const seat = this.#seats.get(instanceId);
    if (seat !== undefined) seat.pausedUntilMs = Math.max(seat.pausedUntilMs, untilMs);
  }

  /** Bytes are bounded for all, and for one account at half of that: large bodies of one must not shut the others out. */
  #fits({ account, bytes }: Claim, limits: LineLimits): boolean {
    const own = this.#bytes.get(account) ?? 0;
    const isOwnTooMuch = own > 0 && own + bytes > limits.bytes / 2;
    return !isOwnTooMuch && (this.#allBytes === 0 || this.#allBytes + bytes <= limits.bytes);
  }

  #countBytes({ account, bytes }: Claim, sign: 1 | -1): void {
    this.#allBytes += sign * bytes;
    const own = (this.#bytes.get(account) ?? 0) + sign * bytes;
    if (own > 0) this.#bytes.set(account, own);
    else this.#bytes.delete(account);
  }

  /** The highest tier that waits, or a lower one that was passed over too often. */
  #nextTier(): Tier | null {
    const waiting = tiers.filter((tier) => this.#lines[tier].size > 0);
    const overdue = waiting.slice(1).find((tier) => this.#passes[tier] >= maxPasses[tier]);
    return overdue ?? waiting[0] ?? null;
  }

  #countPasses(granted: Tier): void {
    for (const tier of tiers) {
      if (tier === granted || this.#lines[tier].size === 0) this.#passes[tier] = 0;
      else this.#passes[tier] += 1;
    }
  }

  /** The newest ticket of whoever waits with most, when the newcomer's account has fewer; the lowest tier first. */
  #whoGivesWay({ account, tier }: Claim): Ticket | null {
    for (const one of tiers.slice(tiers.indexOf(tier)).toReversed()) {
      // In its own tier it must be better off by more than the one place it takes.
      const atLeast = one === tier ? this.#lines[one].waitingOf(account) + 1 : 0;
      const found = this.#lines[one].newestOfLongest(atLeast);
      if (found !== null) return found;
    }
    return null;
  }

  #takeSlot(claim: Claim, nowMs: number): string | null {
    const free: Candidate[] = [];
    for (const [id, seat] of this.#seats) {
      if (!seat.isOpen || seat.inFlight >= seat.slots || seat.pausedUntilMs > nowMs) continue;
      const cachedBlocks = this.#seats.size > 1 ? this.#prefixes.match(id, claim.prefix) : 0;
      const { slots, inFlight } = seat;
      free.push({ id, slots, inFlight, recent: recentOf(seat, nowMs), cachedBlocks });
    }
    const preferred = claim.avoid.length === 0 ? free : free.filter(({ id }) => !claim.avoid.includes(id));
    const chosen = chooseInstance(preferred.length > 0 ? preferred : free);
    const seat = chosen === null ? undefined : this.#seats.get(chosen);
    if (chosen === null || seat === undefined) return null;
    seat.inFlight += 1;
    seat.recent = recentOf(seat, nowMs) + 1;
    seat.recentAtMs = nowMs;
    this.#prefixes.note(chosen, claim.prefix);
    return chosen;
  }

  #seatOf(id: string): Seat {
    let seat = this.#seats.get(id);
    if (seat === undefined) {
      const nothing = { slots: 0, isOpen: false, isListed: false, inFlight: 0 };
      seat = { ...nothing, pausedUntilMs: 0, recent: 0, recentAtMs: 0 };
      this.#seats.set(id, seat);
    }
    return seat;
  }

  #forgetIfGone(id: string, seat: Seat): void {
    if (!seat.isListed && seat.inFlight === 0) this.#seats.delete(id);
  }
}

function recentOf({ recent, recentAtMs }: Seat, nowMs: number): number {
  return recent * 2 ** (-Math.max(0, nowMs - recentAtMs) / recentHalfMs);
}
