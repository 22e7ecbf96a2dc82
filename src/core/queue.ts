/**
 * The line in front of one deployment's instances. Pure bookkeeping: it takes values (the time among them) and answers
 * who goes where. Owns three promises: an instance never holds more requests than its slots, who came first goes first,
 * and nobody is lost. Must not know what a ticket is, start timers or do I/O.
 */
import { type Candidate, chooseInstance } from "./balance.ts";

export type SlotInstance = {
  readonly id: string;
  /** Requests it serves at once. */
  readonly slots: number;
  /** Takes nothing new. */
  readonly isDraining: boolean;
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
};

export class SlotQueue<Ticket extends object> {
  readonly #seats = new Map<string, Seat>();
  /** Tickets that had a slot and came back unserved: they go before everyone, in the order they came back. */
  readonly #returned = new Set<Ticket>();
  readonly #waiting = new Set<Ticket>();

  /** Tickets that wait. */
  get waiting(): number {
    return this.#returned.size + this.#waiting.size;
  }

  /** Slots taken, at all instances. */
  get running(): number {
    let sum = 0;
    for (const seat of this.#seats.values()) sum += seat.inFlight;
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
      const seat = this.#seats.get(id) ?? {
        slots,
        isOpen: true,
        isListed: true,
        inFlight: 0,
        pausedUntilMs: 0,
      };
      seat.slots = slots;
      seat.isOpen = !isDraining;
      seat.isListed = true;
      this.#seats.set(id, seat);
    }
    for (const [id, seat] of this.#seats) this.#forgetIfGone(id, seat);
  }

  /** Takes a slot at once when one is free and nobody waits; answers the instance, or null. */
  take(nowMs: number): string | null {
    return this.waiting > 0 ? null : this.#takeSlot(nowMs);
  }

  /** Joins the line; false, and not joined, when `limit` tickets wait already. */
  join(ticket: Ticket, limit: number): boolean {
    if (this.waiting >= limit) return false;
    this.#waiting.add(ticket);
    return true;
  }

  /** Joins before those who never had a slot, whatever the limit: it was counted before. */
  rejoin(ticket: Ticket): void {
    this.#returned.add(ticket);
  }

  /** Leaves the line; false when the ticket was not in it. */
  leave(ticket: Ticket): boolean {
    return this.#returned.delete(ticket) || this.#waiting.delete(ticket);
  }

  /** Empties the line and answers who was in it, first come first. */
  dismiss(): Ticket[] {
    const everyone = [...this.#returned, ...this.#waiting];
    this.#returned.clear();
    this.#waiting.clear();
    return everyone;
  }

  /** Gives free slots to those at the head of the line. Call after anything that may have freed one. */
  grant(nowMs: number): Grant<Ticket>[] {
    const grants: Grant<Ticket>[] = [];
    for (const line of [this.#returned, this.#waiting]) {
      for (const ticket of line) {
        const instanceId = this.#takeSlot(nowMs);
        if (instanceId === null) return grants;
        line.delete(ticket);
        grants.push({ ticket, instanceId });
      }
    }
    return grants;
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

  #takeSlot(nowMs: number): string | null {
    const candidates: Candidate[] = [];
    for (const [id, seat] of this.#seats) {
      if (!seat.isOpen || seat.inFlight >= seat.slots || seat.pausedUntilMs > nowMs) continue;
      candidates.push({ id, slots: seat.slots, inFlight: seat.inFlight });
    }
    const chosen = chooseInstance(candidates);
    const seat = chosen === null ? undefined : this.#seats.get(chosen);
    if (seat !== undefined) seat.inFlight += 1;
    return chosen;
  }

  #forgetIfGone(id: string, seat: Seat): void {
    if (!seat.isListed && seat.inFlight === 0) this.#seats.delete(id);
  }
}
