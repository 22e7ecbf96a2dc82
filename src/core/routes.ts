/**
 * What a gateway needs to know, derived from the stored facts. Pure. Owns the decision which models are callable, by
 * which state and reason; must not leak what another account may not see (the gateway filters by account).
 */
import { type Abilities, unknownAbilities } from "./abilities.ts";
import type { Account, AccountTerms, ApiToken, Rates } from "./account.ts";
import type { Deployment } from "./deployment.ts";
import { failReason } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { type Prices, tokenPricesOf } from "./prices.ts";
import { isOnTrial } from "./revision.ts";
import type { RouteInstance, RouteModel, RouteRates, RouteState, RoutingSnapshot } from "./routing.ts";
import { settingsAt } from "./schedule.ts";

export type RoutesInput = {
  readonly version: number;
  readonly atMs: number;
  readonly tokens: readonly ApiToken[];
  /** Names of the accounts that administer the installation. */
  readonly admins: ReadonlySet<string>;
  readonly deployments: readonly Deployment[];
  readonly instances: readonly InstanceRecord[];
  /** Secrets of the instances that were seen, by instance id; one without cannot be called. */
  readonly secrets: ReadonlyMap<string, string>;
  /** Accounts with a limit. */
  readonly accounts: readonly RouteRates[];
  readonly spentScopes: readonly string[];
  /** By engine name. */
  readonly abilities: ReadonlyMap<string, Abilities>;
  readonly prices: Prices["models"];
  /**
   * Routes of deployments without instances as they were made last, by the deployment's value: nearly all of thousands are
   * what they were. Filled here; good as long as abilities and prices are the same.
   */
  readonly known: WeakMap<Deployment, RouteModel>;
};

export function routesOf(input: RoutesInput): RoutingSnapshot {
  const byDeployment = Map.groupBy(input.instances, (record) => record.deploymentId);
  return {
    version: input.version,
    atMs: input.atMs,
    tokens: input.tokens.map(({ hash, id, account, allowedIps }) => ({
      hash,
      tokenId: id,
      account,
      allowedIps,
      isAdmin: input.admins.has(account),
    })),
    accounts: input.accounts,
    limitedTokens: input.tokens.flatMap(({ id, rates }) => limited(id, rates)),
    spentScopes: input.spentScopes,
    models: input.deployments
      .filter((deployment) => deployment.desired !== "delete" || byDeployment.has(deployment.id))
      .map((deployment) => {
        const records = byDeployment.get(deployment.id);
        return records === undefined ? knownRoute(deployment, input) : routeOf(deployment, records, input);
      }),
  };
}

function knownRoute(deployment: Deployment, input: RoutesInput): RouteModel {
  // What a schedule asks for changes by itself.
  if (deployment.settings.schedule !== undefined) return routeOf(deployment, [], input);
  const before = input.known.get(deployment);
  if (before !== undefined) return before;
  const route = routeOf(deployment, [], input);
  input.known.set(deployment, route);
  return route;
}

/** What holds for accounts without limits of their own; 0 is no limit. */
export type DefaultRateLimits = Record<keyof Rates, number>;

/** The accounts with a limit. The built-in one calls nothing. */
export function routeAccounts(
  accounts: readonly Account[],
  terms: ReadonlyMap<string, AccountTerms>,
  defaults: DefaultRateLimits,
): RouteRates[] {
  return accounts.flatMap(({ name }) => {
    return limited(name, rateLimitsOf(terms.get(name)?.limits ?? null, defaults));
  });
}

/** Nothing where there is no limit. */
function limited(name: string, rates: Rates): RouteRates[] {
  const limits = rateLimitsOf(rates, { concurrentRequests: 0, requestsPerMinute: 0, tokensPerMinute: 0 });
  return Object.values(limits).some((limit) => limit !== null) ? [{ name, ...limits }] : [];
}

/** An account's own limits, else the defaults; null for none. */
export function rateLimitsOf(own: Rates | null, defaults: DefaultRateLimits): Omit<RouteRates, "name"> {
  const limit = (name: keyof DefaultRateLimits) => {
    const value = own?.[name] ?? defaults[name];
    return value === 0 ? null : value;
  };
  return {
    concurrentRequests: limit("concurrentRequests"),
    requestsPerMinute: limit("requestsPerMinute"),
    tokensPerMinute: limit("tokensPerMinute"),
  };
}

function routeOf(
  deployment: Deployment,
  records: readonly InstanceRecord[],
  { atMs, secrets, abilities, prices }: RoutesInput,
): RouteModel {
  // What has not shown yet that its new arguments work gets no requests of clients.
  const tested = records.filter(
    (record) => record.intent === "drain" || !isOnTrial(deployment.revisions, record),
  );
  const instances = tested.flatMap((record) => routeInstance(record, secrets.get(record.id)));
  const { state, reason } = routeState(deployment, records, instances, atMs);
  return {
    deploymentId: deployment.id,
    name: deployment.name,
    account: deployment.account,
    isPublic: deployment.isPublic,
    state,
    reason,
    loadTimeMs: deployment.loadTimeMs,
    createdAtMs: deployment.createdAtMs,
    contextTokens: Math.max(0, ...tested.map((record) => record.observed?.contextTokens ?? 0)),
    task: deployment.resolved?.task ?? "text-generation",
    version: deployment.resolved?.commit ?? "",
    abilities: abilities.get(deployment.resolved?.engine ?? "") ?? unknownAbilities,
    prices: tokenPricesOf(prices, deployment.name),
    instances,
  };
}

/** Draining instances stay listed: the gateway must know them to report what they still have in flight. */
function routeInstance(record: InstanceRecord, secret: string | undefined): RouteInstance[] {
  const seen = record.observed;
  if (seen?.state !== "running" || secret === undefined) return [];
  const { endpoint, slots } = seen;
  return [{ id: record.id, endpoint, secret, slots, isDraining: record.intent === "drain" }];
}

function routeState(
  deployment: Deployment,
  records: readonly InstanceRecord[],
  instances: readonly RouteInstance[],
  atMs: number,
): { state: RouteState; reason: string } {
  const { name } = deployment;
  const settings = settingsAt(deployment.settings, atMs);
  if (deployment.desired === "delete") return { state: "gone", reason: `${name} was deleted.` };
  if (deployment.desired === "stop") {
    return { state: "off", reason: `${name} is stopped. Start it with POST /deploy/${deployment.id}/start.` };
  }
  if (deployment.failure !== null) {
    return { state: "off", reason: `${name} has failed: ${failReason(deployment.failure)}` };
  }
  if (settings.maxInstances === 0) {
    return {
      state: "off",
      reason: `${name} may have no instance: its max_instances is 0. Raise it with PUT /deploy/${deployment.id}.`,
    };
  }
  if (instances.some((instance) => !instance.isDraining)) return { state: "ready", reason: "" };
  const isComing = records.some((record) => record.intent === "run" && record.observed?.state !== "exited");
  const isAtZero = settings.minInstances === 0 && deployment.weightsReadyAtMs !== null && !isComing;
  if (isAtZero) return { state: "asleep", reason: `${name} is at zero instances and is woken by a request.` };
  return { state: "starting", reason: `${name} is starting.` };
}
