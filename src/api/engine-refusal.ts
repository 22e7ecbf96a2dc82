/** Whether the installed engines take a deployment's arguments. Pure. */
import type { EngineArgs } from "../core/deployment.ts";
import type { Engine } from "../ports/engine.ts";

/**
 * Null when the engine takes the arguments. Where it is not known yet (null), or is not installed any more, one engine that
 * takes them is enough, and the first one's sentence is the refusal.
 */
export function refuseByEngines(
  engines: ReadonlyMap<string, Engine>,
  name: string | null,
  args: EngineArgs,
): string | null {
  const known = name === null ? undefined : engines.get(name);
  if (known !== undefined) return known.refuseArgs(args);
  const refusals = [...engines.values()].map((engine) => engine.refuseArgs(args));
  return refusals.some((refusal) => refusal === null) ? null : (refusals[0] ?? null);
}
