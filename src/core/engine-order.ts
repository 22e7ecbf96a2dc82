/**
 * Which engines are asked for a deployment, in which order: the first that can load its files and takes its arguments gets
 * it. Pure. Owns what outweighs the installation's own order, which prefers the faster program.
 */
import type { Abilities } from "./abilities.ts";

type Candidate = { readonly abilities: Pick<Abilities, "cacheScope"> };

/**
 * A deployment is its account's alone, so that whatever its engine keeps of prompts is that account's. A public one is
 * everybody's: an engine that would share one account's prompts with another (how fast an answer comes tells that its
 * beginning was asked before) is asked only when no other can.
 */
export function orderEngines<Engine extends Candidate>(
  engines: readonly Engine[],
  deployment: { readonly isPublic: boolean },
): readonly Engine[] {
  if (!deployment.isPublic) return engines;
  const keepsApart = ({ abilities }: Engine) => abilities.cacheScope !== "none";
  return [...engines.filter(keepsApart), ...engines.filter((engine) => !keepsApart(engine))];
}
