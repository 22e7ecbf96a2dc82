/**
 * One deployment's door in this process: leads requests to the deployment's line, here or in another process, and takes
 * them along when the line moves: who is in flight goes on and is counted where the line is now, who waits waits there.
 * Must not decide who goes where (line.ts does).
 */
import type { ModelLoad, RouteModel } from "../core/routing.ts";
import type { AdmissionOptions } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import { type Bid, type Lease, Moved, type SlotKeeper } from "./lease.ts";
import { Line, type RouteLimits } from "./line.ts";

export class Gate {
  readonly #options: AdmissionOptions;
  /** Where the line is: a Line here, or another process's. */
  #keeper: SlotKeeper;
  /** Slots of this process's own requests, wherever they are counted. */
  readonly #own = new Set<Lease>();
  #waiting = 0;
  #model: RouteModel | null = null;
  #limits: RouteLimits = { accounts: [], limitedTokens: [] };

  /**
   * @param elsewhere the line, when it is not here
   * @param isOpen no slots are taken that a line here would not know of
   */
  constructor(options: AdmissionOptions, elsewhere: SlotKeeper | null, isOpen: boolean) {
    this.#options = options;
    this.#keeper = elsewhere ?? new Line(options, isOpen);
  }

  /** The line, when it is here. */
  get line(): Line | null {
    return this.#keeper instanceof Line ? this.#keeper : null;
  }

  get isIdle(): boolean {
    return this.#own.size === 0 && this.#waiting === 0 && this.line?.isIdle !== false;
  }

  acquire(bid: Bid, signal: CancelSignal): Promise<Lease> | Lease {
    const given = this.#keeper.acquire(bid, signal);
    if (given instanceof Promise)
      return this.#follow(given, bid, signal, bid.joinedAtMs ?? this.#options.now());
    given.heldIn(this.#own);
    return given;
  }

  mayRetry(): boolean | Promise<boolean> {
    return this.#keeper.mayRetry();
  }

  /** @param elsewhere the line from now on; null: one here, which is to be opened when it knows of every taken slot */
  moveTo(elsewhere: SlotKeeper | null): void {
    const before = this.#keeper;
    if (before.at === (elsewhere?.at ?? null)) return;
    const past = this.line?.past() ?? null;
    this.#keeper = elsewhere ?? new Line(this.#options, false);
    if (past !== null) this.#keeper.adopt(past);
    this.line?.setModel(this.#model, this.#limits);
    for (const lease of this.#own) this.#keeper.hold(lease);
    before.close();
    this.#options.onLoad(true);
  }

  setModel(model: RouteModel | null, limits: RouteLimits): void {
    // Of thousands nearly all are the same objects in the next picture.
    const { accounts, limitedTokens } = this.#limits;
    const isSame = limits.accounts === accounts && limits.limitedTokens === limitedTokens;
    if (isSame && model !== null && model === this.#model) return;
    const isDraining = (one: RouteModel | null) =>
      one?.instances.filter((instance) => instance.isDraining).map(({ id }) => id) ?? [];
    const known = isDraining(this.#model);
    // The process that has the line says so by itself.
    const startsDraining = this.line === null && isDraining(model).some((id) => !known.includes(id));
    this.#model = model;
    this.#limits = limits;
    this.line?.setModel(model, limits);
    if (startsDraining) this.#options.onLoad(true);
  }

  /** Null when there is nothing to say about it. */
  load(): ModelLoad | null {
    if (this.line !== null) return this.line.load();
    const inFlight: Record<string, number> = {};
    for (const { id, isDraining } of this.#model?.instances ?? []) if (isDraining) inFlight[id] = 0;
    for (const { instance } of this.#own) inFlight[instance.id] = (inFlight[instance.id] ?? 0) + 1;
    // The process that has the line reports the rest, these among them.
    return Object.keys(inFlight).length === 0
      ? null
      : { queued: 0, running: 0, lastRequestAtMs: null, inFlight };
  }

  /** Waits where the line is, and goes with it. Between the grant and its record here no message of another process is read. */
  async #follow(asked: Promise<Lease>, bid: Bid, signal: CancelSignal, joinedAtMs: number): Promise<Lease> {
    this.#waiting += 1;
    try {
      const lease = await asked;
      lease.heldIn(this.#own);
      return lease;
    } catch (error) {
      if (error instanceof Moved) return await this.acquire({ ...bid, joinedAtMs }, signal);
      throw error;
    } finally {
      this.#waiting -= 1;
    }
  }
}
