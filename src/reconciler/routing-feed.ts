/**
 * Keeps the routing snapshot current: rebuilt from the store after any write, in one piece, so that no change can be
 * forgotten. Many writes at once lead to one rebuild. What is the same as before stays the same object, by which the link
 * finds what to tell (`core/route-changes`). Serves the newest snapshot to whoever listens.
 */
import type { Abilities } from "../core/abilities.ts";
import type { Deployment } from "../core/deployment.ts";
import type { Prices } from "../core/prices.ts";
import { keepSame } from "../core/route-changes.ts";
import { type DefaultRateLimits, routeAccounts, routesOf } from "../core/routes.ts";
import type { RouteModel, RoutingSnapshot } from "../core/routing.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { UsageStore } from "../ports/usage-store.ts";

export type RoutingFeed = {
  /** Something that routes are made of was written. */
  changed(): void;
  /** Resolves with a version that knows of every write so far. */
  settled(): Promise<number>;
  /** The newest snapshot; throws before `start` has resolved. */
  current(): RoutingSnapshot;
  /** Calls back with each new snapshot. Returns the function that ends it. */
  onSnapshot(listener: (snapshot: RoutingSnapshot) => void): () => void;
  start(): Promise<void>;
  stop(): Promise<void>;
};

/** A rebuild that failed is tried again after this time. */
const retryMs = 500;

export function createRoutingFeed(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly secrets: ReadonlyMap<string, string>;
  /** By engine name. */
  readonly abilities: ReadonlyMap<string, Abilities>;
  /** Limits of accounts that have none of their own; 0 is no limit. */
  readonly defaultLimits: DefaultRateLimits;
  readonly prices: Prices["models"];
  log(level: "error", message: string, fields: Record<string, unknown>): void;
}): RoutingFeed {
  const { store, clock } = options;
  const listeners = new Set<(snapshot: RoutingSnapshot) => void>();
  const stopping = new AbortController();
  const known = new WeakMap<Deployment, RouteModel>();
  let snapshot: RoutingSnapshot | null = null;
  /** Callers of `settled` that the next rebuild serves. */
  let waiting: (() => void)[] = [];
  let isDirty = false;
  let rebuilding: Promise<void> | null = null;

  async function rebuild(): Promise<void> {
    const [accounts, terms] = [await store.accounts(), await store.access.allTerms()];
    const next = routesOf({
      // Goes on growing across restarts, so that a gateway can compare versions of two controls.
      version: Math.max((snapshot?.version ?? 0) + 1, clock.now()),
      atMs: clock.now(),
      tokens: (await store.tokens()).filter(({ account }) => terms.get(account)?.isDisabled !== true),
      admins: new Set(accounts.filter(({ isAdmin }) => isAdmin).map(({ name }) => name)),
      deployments: await listRouted(store),
      instances: await store.instances(),
      secrets: options.secrets,
      abilities: options.abilities,
      accounts: routeAccounts(accounts, terms, options.defaultLimits),
      spentScopes: await store.access.spentScopes(clock.now()),
      prices: options.prices,
      known,
    });
    snapshot = keepSame(snapshot, next);
    for (const listener of listeners) listener(snapshot);
  }

  async function rebuildWhileDirty(): Promise<void> {
    while (isDirty && !stopping.signal.aborted) {
      isDirty = false;
      const served = waiting;
      waiting = [];
      try {
        await rebuild();
        for (const wake of served) wake();
      } catch (error) {
        waiting.push(...served);
        options.log("error", "the routing snapshot could not be rebuilt", { error: String(error) });
        isDirty = true;
        await clock.sleep(retryMs, stopping.signal).catch(() => undefined); // aborted: the loop's condition ends it
      }
    }
    rebuilding = null;
  }

  function changed(): void {
    isDirty = true;
    rebuilding ??= rebuildWhileDirty();
  }

  return {
    changed,
    async settled() {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        changed();
      });
      return snapshot?.version ?? 0;
    },
    current() {
      if (snapshot === null) throw new Error("the routing feed has not started");
      return snapshot;
    },
    onSnapshot(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    start: rebuild,
    async stop() {
      stopping.abort();
      await rebuilding;
      for (const wake of waiting) wake();
    },
  };
}

/** Every deployment that is not deleted, and deleted ones while an instance of theirs is left. */
async function listRouted(store: Store): Promise<Deployment[]> {
  const listed = await store.deployments({ includeDeleted: false });
  const known = new Set(listed.map((deployment) => deployment.id));
  const others = new Set(
    (await store.instances()).map((record) => record.deploymentId).filter((id) => !known.has(id)),
  );
  const deleted = await Promise.all([...others].map((id) => store.deployment(id)));
  return [...listed, ...deleted.filter((deployment) => deployment !== null)];
}

/** The same store, calling `onChange` after each write that routes are made of. */
export function notifyingStore(store: Store, onChange: () => void): Store {
  const after = async <T>(write: Promise<T>): Promise<T> => {
    const outcome = await write;
    onChange();
    return outcome;
  };
  const { access } = store;
  return {
    addAccount: (account) => store.addAccount(account),
    account: (name) => store.account(name),
    accounts: () => store.accounts(),
    addToken: (token, sealed) => after(store.addToken(token, sealed)),
    tokenByHash: (hash) => store.tokenByHash(hash),
    tokens: (account) => store.tokens(account),
    sealedToken: (tokenId) => store.sealedToken(tokenId),
    limitToken: (account, tokenId, limits) => after(store.limitToken(account, tokenId, limits)),
    removeToken: (account, tokenId) => after(store.removeToken(account, tokenId)),
    addDeployment: (deployment, sealed) => after(store.addDeployment(deployment, sealed)),
    deployment: (id) => store.deployment(id),
    deployments: (query) => store.deployments(query),
    changeDeployment: (id, change) => after(store.changeDeployment(id, change)),
    sealedHfToken: (id) => store.sealedHfToken(id),
    putInstance: (record) => after(store.putInstance(record)),
    instances: (deploymentId) => store.instances(deploymentId),
    removeInstance: (id) => after(store.removeInstance(id)),
    addEvent: (event) => store.addEvent(event),
    events: (deploymentId, limit) => store.events(deploymentId, limit),
    note: (key) => store.note(key),
    putNote: (key, value) => store.putNote(key, value),
    usage: notifyingUsage(store.usage, onChange),
    access: {
      terms: (account) => access.terms(account),
      allTerms: () => access.allTerms(),
      changeTerms: (account, change) => after(access.changeTerms(account, change)),
      addLimitRequest: (request) => access.addLimitRequest(request),
      limitRequests: (query) => access.limitRequests(query),
      limitRequest: (id) => access.limitRequest(id),
      changeLimitRequest: (request) => access.changeLimitRequest(request),
      addAudit: (entry, keep) => access.addAudit(entry, keep),
      audit: (query) => access.audit(query),
      rememberScope: (scope, nowMs, max) => access.rememberScope(scope, nowMs, max),
      spentScopes: (nowMs) => access.spentScopes(nowMs),
    },
    close: () => store.close(),
  };
}

/** Routes are made of usage only where a scoped JWT may have spent its limit. */
function notifyingUsage(usage: UsageStore, onChange: () => void): UsageStore {
  return {
    async add(records) {
      const added = await usage.add(records);
      if (added.some((record) => record.scopeId !== null)) onChange();
      return added;
    },
    totals: (deploymentId, window) => usage.totals(deploymentId, window),
    sums: (of, window) => usage.sums(of, window),
    firstUseMs: (account) => usage.firstUseMs(account),
    costs: (account, requestIds) => usage.costs(account, requestIds),
    spentByScope: (scopeIds) => usage.spentByScope(scopeIds),
    openRuns: () => usage.openRuns(),
    putRuns: (runs) => usage.putRuns(runs),
    runs: (account, window) => usage.runs(account, window),
    prune: (keep) => usage.prune(keep),
  };
}
