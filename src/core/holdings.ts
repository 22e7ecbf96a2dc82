/**
 * Which GPUs are given, so that none is given twice: from the moment a start is decided until the driver has ended the
 * instance, whatever the records say in between. Pure: it changes by what it is told alone.
 */
import type { ObservedInstance, Placement } from "./instance.ts";

export type Holding = {
  readonly deploymentId: string;
  readonly placement: Placement;
  /** The driver has shown it: not to be shown any more means to be gone. Before, it means that it is being started. */
  readonly isSeen: boolean;
  /** It has been decided that it goes. */
  readonly isLeaving: boolean;
};

export class Holdings {
  readonly #held = new Map<string, Holding>();

  /** Brings them up to date with everything the driver sees; what was seen before and is gone is let go. */
  sync(seen: readonly Pick<ObservedInstance, "id" | "deploymentId" | "placement">[]): void {
    const ids = new Set(seen.map(({ id }) => id));
    for (const [id, { isSeen }] of this.#held) if (isSeen && !ids.has(id)) this.#held.delete(id);
    for (const { id, deploymentId, placement } of seen) {
      const isLeaving = this.#held.get(id)?.isLeaving ?? false;
      this.#held.set(id, { deploymentId, placement, isSeen: true, isLeaving });
    }
  }

  /** Takes a placement for an instance that is about to be started. False when a GPU of it was given away meanwhile. */
  take(instanceId: string, deploymentId: string, placement: Placement): boolean {
    const occupied = this.occupied();
    if (placement.gpus.some((gpu) => occupied.has(gpu))) return false;
    this.#held.set(instanceId, { deploymentId, placement, isSeen: false, isLeaving: false });
    return true;
  }

  /** It drains: what it holds will be free. */
  leave(instanceId: string): void {
    const holding = this.#held.get(instanceId);
    if (holding !== undefined) this.#held.set(instanceId, { ...holding, isLeaving: true });
  }

  /** The instance was never started, or has ended. */
  release(instanceId: string): void {
    this.#held.delete(instanceId);
  }

  all(): IterableIterator<Holding> {
    return this.#held.values();
  }

  occupied(): Set<string> {
    return new Set([...this.#held.values()].flatMap(({ placement }) => placement.gpus));
  }

  /** Those of the occupied ones that will be free. */
  leaving(): Set<string> {
    const leaving = [...this.#held.values()].filter(({ isLeaving }) => isLeaving);
    return new Set(leaving.flatMap(({ placement }) => placement.gpus));
  }
}
