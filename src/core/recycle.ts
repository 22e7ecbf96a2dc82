/**
 * Which instance is to be replaced because it has grown: programs that serve for weeks may keep a little of each request, and the
 * limit of their memory would end them in the middle of one. Only one that has nothing to do goes, so no request is lost, and one
 * at a time. Pure.
 */
import type { InstanceMemory, InstanceRecord } from "./instance.ts";

export type RecycleInput = {
  readonly now: number;
  /** Instances that serve or will. */
  readonly live: readonly InstanceRecord[];
  /** What instances use; one that is absent is not known. */
  readonly memory: ReadonlyMap<string, InstanceMemory>;
  /** Requests by instance. */
  readonly inFlight: Readonly<Record<string, number>>;
  /** Requests that wait. */
  readonly queued: number;
};

/** Share of its limit that an instance may use before it is replaced. */
const fullShare = 0.8;
/** One that needs so much from the start on would else be replaced for ever. */
const leastAgeMs = 1_800_000;

const mib = 2 ** 20;

/** The one to replace now, with the reason; null for none. */
export function chooseRecycled(
  input: RecycleInput,
): { readonly instanceId: string; readonly reason: string } | null {
  const { live, now, memory, inFlight, queued } = input;
  // While one is starting its requests are the others'.
  if (queued > 0 || live.some(({ observed }) => observed?.state !== "running")) return null;
  for (const { id, observed } of live) {
    const { usedBytes, limitBytes } = memory.get(id) ?? { usedBytes: 0, limitBytes: null };
    const isOld = now - (observed?.readyAtMs ?? now) >= leastAgeMs;
    if (limitBytes === null || !isOld || (inFlight[id] ?? 0) > 0) continue;
    if (usedBytes < limitBytes * fullShare) continue;
    const [used, limit] = [usedBytes, limitBytes].map((bytes) => Math.round(bytes / mib));
    return {
      instanceId: id,
      reason: `it has grown to ${used} of the ${limit} MiB that it may have and has nothing to do; another takes its place`,
    };
  }
  return null;
}
