/**
 * From one picture of the routes to the next: what a gateway that has the one must be told to have the other. Pure. Goes by
 * identity: what is the same object has not changed, so whoever makes pictures keeps what stays the same (`routesOf`).
 */
import type { RouteModel, RoutingSnapshot } from "./routing.ts";

/** What does not concern a single model; each whole where anything of it has changed. */
export const sharedParts = ["tokens", "accounts", "limitedTokens", "spentScopes"] as const;
export type SharedRoutes = Pick<RoutingSnapshot, (typeof sharedParts)[number]>;

export type RouteChanges = Partial<SharedRoutes> & {
  /** The version that this is to be applied to, and no other. */
  readonly since: number;
  readonly version: number;
  readonly atMs: number;
  /** New ones and those that have changed. */
  readonly models: readonly RouteModel[];
  /** Ids of deployments that are not in the picture any more. */
  readonly gone: readonly string[];
};

export function changesBetween(before: RoutingSnapshot, after: RoutingSnapshot): RouteChanges {
  const had = new Set(before.models);
  const listed = new Set(after.models.map(({ deploymentId }) => deploymentId));
  const parts = sharedParts.filter((part) => before[part] !== after[part]);
  return {
    since: before.version,
    version: after.version,
    atMs: after.atMs,
    ...Object.fromEntries(parts.map((part) => [part, after[part]])),
    models: after.models.filter((model) => !had.has(model)),
    gone: before.models.map(({ deploymentId }) => deploymentId).filter((id) => !listed.has(id)),
  };
}

/** Models keep their places; new ones come last. Null when the changes are not those of this picture. */
export function applyChanges(before: RoutingSnapshot, changes: RouteChanges): RoutingSnapshot | null {
  const { since, models, gone, ...rest } = changes;
  if (since !== before.version) return null;
  const byId = new Map(before.models.map((model) => [model.deploymentId, model]));
  for (const id of gone) byId.delete(id);
  for (const model of models) byId.set(model.deploymentId, model);
  return { ...before, ...rest, models: [...byId.values()] };
}

/** `after` with the parts of `before` that say the same. */
export function keepSame<Routes extends SharedRoutes>(before: SharedRoutes | null, after: Routes): Routes {
  if (before === null) return after;
  const same = sharedParts.filter((part) => JSON.stringify(before[part]) === JSON.stringify(after[part]));
  return { ...after, ...Object.fromEntries(same.map((part) => [part, before[part]])) };
}
