/**
 * This process's side towards one other whose requests stand in lines here: asks the lines for it, keeps what it holds, and
 * frees that when it has ended. Must not know sockets, nor decide who gets a slot.
 */
import { HttpError } from "../schema/errors.ts";
import type { LeaseAnswer, LeaseQuestion } from "../schema/leases.ts";
import type { Admission } from "./admission.ts";
import { Cancel } from "./cancel.ts";
import { Lease, Moved } from "./lease.ts";
import type { Log } from "./options.ts";

export type LessorOptions = {
  readonly admission: Pick<Admission, "lineOf">;
  readonly log: Log;
  /** Resolves when this process goes by routes of this version, or has waited long enough for them. */
  routesReached(version: number): Promise<void>;
  send(answer: LeaseAnswer): void;
};

/** What a lessee may say once both are in the same view, or it in an earlier one. */
export type LeaseRequest = Extract<
  LeaseQuestion,
  { type: "past" | "hold" | "ask" | "leave" | "release" | "retry" }
>;
type Asked = Extract<LeaseRequest, { type: "ask" }>;

export class Lessor {
  readonly #options: LessorOptions;
  readonly #held = new Map<number, { readonly deploymentId: string; readonly lease: Lease }>();
  readonly #asking = new Map<number, Cancel>();

  constructor(options: LessorOptions) {
    this.#options = options;
  }

  /** Nothing of the other process stands or is counted here. */
  get isIdle(): boolean {
    return this.#held.size === 0 && this.#asking.size === 0;
  }

  hear(request: LeaseRequest): void {
    switch (request.type) {
      case "past":
        this.#options.admission.lineOf(request.deploymentId)?.adopt(request);
        return;
      case "hold": {
        const { key, deploymentId, claim, instance, startedAtMs } = request;
        const line = this.#options.admission.lineOf(deploymentId);
        // The line has moved on, and the other process will tell where it is now.
        if (line === null) return;
        const lease = new Lease(claim, instance, line, startedAtMs);
        line.hold(lease);
        this.#held.set(key, { deploymentId, lease });
        return;
      }
      case "ask":
        void this.#ask(request);
        return;
      case "leave":
        this.#asking.get(request.key)?.abort(new Error("it does not wait any longer"));
        this.#release(request.key);
        return;
      case "release":
        this.#held.get(request.key)?.lease.ended(request);
        this.#release(request.key);
        return;
      case "retry": {
        const isYes = this.#options.admission.lineOf(request.deploymentId)?.mayRetry() ?? false;
        this.#options.send({ type: "may", key: request.key, isYes });
      }
    }
  }

  /** Lines have moved: what was held of those that left is told to where they are now. */
  forgetMoved(): void {
    for (const [key, { deploymentId, lease }] of this.#held)
      if (this.#options.admission.lineOf(deploymentId) !== lease.keeper) this.#held.delete(key);
  }

  /** Nobody can be answered any more. What is held is held until the other process tells anew, or has ended. */
  loseTouch(): void {
    for (const cancel of [...this.#asking.values()]) cancel.abort(new Error("the other process cannot hear"));
  }

  /** The other process has ended, or has told anew what it holds. */
  end(): void {
    this.loseTouch();
    for (const key of [...this.#held.keys()]) this.#release(key);
  }

  #release(key: number): void {
    const held = this.#held.get(key);
    this.#held.delete(key);
    held?.lease.release();
  }

  async #ask({ key, deploymentId, bid, routes }: Asked): Promise<void> {
    const cancel = new Cancel();
    this.#asking.set(key, cancel);
    try {
      const line = this.#options.admission.lineOf(deploymentId);
      if (line === null) return; // it has moved on, and the other process will ask where it is now
      if (!line.isListed) await this.#options.routesReached(routes);
      const lease = await line.acquire({ ...bid, tokens: 0 }, cancel);
      if (cancel.aborted) {
        lease.release();
        return;
      }
      this.#held.set(key, { deploymentId, lease });
      const { instance, claim } = lease;
      this.#options.send({ type: "grant", key, instance, tokens: claim.tokens });
    } catch (error) {
      if (!cancel.aborted && !(error instanceof Moved)) this.#refuse(key, error);
    } finally {
      this.#asking.delete(key);
    }
  }

  #refuse(key: number, error: unknown): void {
    if (!(error instanceof HttpError))
      this.#options.log("error", "a request of another gateway process failed on a defect", {
        error: String((error as Error)?.stack ?? error),
      });
    const { code, message, retryAfterS, param } =
      error instanceof HttpError ? error : new HttpError("internal", "Something went wrong inside Berth.");
    this.#options.send({ type: "refuse", key, code, message, retryAfterS, param });
  }
}
