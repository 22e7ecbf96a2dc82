/**
 * When an instance that drains is ended: once every gateway has said that it knows and has nothing there, or when its time is
 * over. Pure. Must not decide which instances drain.
 */
import { act, earlier, join, nothing, type Plan } from "./action.ts";
import type { InstanceRecord } from "./instance.ts";
import type { World } from "./world.ts";

/** After a start of control, gateways get this long to come back before their silence means that there is none. */
const gatewayGraceMs = 5_000;

/** Removes draining instances that are idle or out of time. */
export function planDraining(world: World): Plan {
  const plans = world.instances
    .filter((record) => record.intent === "drain" && record.observed?.state !== "exited")
    .filter((record) => !world.underWay.removing.has(record.id))
    .map((record) => planDrain(world, record));
  return plans.reduce(join, nothing);
}

function planDrain(world: World, record: InstanceRecord): Plan {
  const remove = (reason: string) => act({ do: "remove", instanceId: record.id, reason });
  if (record.observed?.state !== "running") return remove("it never served");
  const inFlight = requestsAt(world, record.id);
  if (inFlight === 0) return remove("it has nothing left to do");
  const endsAtMs = (record.drainSinceMs ?? world.now) + world.limits.drainMs;
  if (world.now >= endsAtMs)
    return remove(`the drain limit passed with ${inFlight ?? "an unknown number of"} requests`);
  const dueAtMs = gatewaysDueAtMs(world);
  const isAwaited = (inFlight ?? 0) === 0 && world.now < dueAtMs;
  return { actions: [], againAtMs: earlier(endsAtMs, isAwaited ? dueAtMs : null) };
}

/** Until then a gateway that control does not see may be on its way back, with requests at any instance. */
function gatewaysDueAtMs({ watchingSinceMs, gatewaySeenAtMs }: World): number {
  return Math.max(watchingSinceMs, gatewaySeenAtMs ?? 0) + gatewayGraceMs;
}

/** Requests at a draining instance; null while a gateway may still send or hold some that it has not reported. */
function requestsAt(world: World, instanceId: string): number | null {
  const reported = world.load.inFlight[instanceId] ?? (world.gateways === 0 ? 0 : null);
  return reported === 0 && world.now < gatewaysDueAtMs(world) ? null : reported;
}
