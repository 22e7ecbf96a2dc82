/**
 * The newest routing snapshot as the gateway asks it: which account a token stands for, which model a selector names
 * for that account, which models it may list. Pure. Owns visibility: what an account may not see is the same to it as
 * what does not exist.
 */
import { unknownAbilities } from "../core/abilities.ts";
import type { RouteModel, RouteToken, RoutingSnapshot } from "../core/routing.ts";

export type Directory = {
  readonly models: readonly RouteModel[];
  readonly tokensByHash: ReadonlyMap<string, RouteToken>;
  readonly tokensById: ReadonlyMap<string, RouteToken>;
  /** Accounts that have a token. */
  readonly accounts: ReadonlySet<string>;
  readonly spentScopes: ReadonlySet<string>;
  readonly byId: ReadonlyMap<string, RouteModel>;
  readonly byName: ReadonlyMap<string, RouteModel>;
  readonly byLowerName: ReadonlyMap<string, RouteModel>;
};

export function indexSnapshot(snapshot: RoutingSnapshot): Directory {
  const { tokens } = snapshot;
  const models = snapshot.models.filter((model) => model.state !== "gone");
  return {
    models,
    tokensByHash: new Map(tokens.map((token) => [token.hash, token])),
    tokensById: new Map(tokens.map((token) => [token.tokenId, token])),
    accounts: new Set(tokens.map((token) => token.account)),
    spentScopes: new Set(snapshot.spentScopes),
    byId: new Map(models.map((model) => [model.deploymentId, model])),
    byName: new Map(models.map((model) => [model.name, model])),
    byLowerName: new Map(models.map((model) => [model.name.toLowerCase(), model])),
  };
}

const idPrefix = "deploy_id:";

/** The shortest beginning of a version that counts as naming it. */
const shortestVersion = 7;

/**
 * The model a selector names: `account/name`, `name` (of the caller's account), either with `:<version>` behind it, or
 * `deploy_id:<id>`. Names are compared exactly first, then ignoring case. A deployment has one version, the commit of its
 * weights; its beginning is enough.
 * @param account the caller's, null without a token
 * @returns null when there is none that the caller may use
 */
export function findModel(directory: Directory, selector: string, account: string | null): RouteModel | null {
  const found = selector.startsWith(idPrefix)
    ? directory.byId.get(selector.slice(idPrefix.length))
    : findByName(directory, selector, account);
  return found !== undefined && isVisible(found, account) ? found : null;
}

function findByName(directory: Directory, selector: string, account: string | null): RouteModel | undefined {
  if (!selector.includes("/") && account === null) return undefined;
  const full = selector.includes("/") ? selector : `${account}/${selector}`;
  // Names have no colon.
  const colon = full.indexOf(":");
  const [name, version] = colon === -1 ? [full, null] : [full.slice(0, colon), full.slice(colon + 1)];
  const found = directory.byName.get(name) ?? directory.byLowerName.get(name.toLowerCase());
  if (found === undefined || version === null) return found;
  return version.length >= shortestVersion && found.version.startsWith(version) ? found : undefined;
}

/** Models the caller may use: its own first, each group by name. */
export function visibleModels(directory: Directory, account: string | null): RouteModel[] {
  return directory.models
    .filter((model) => isVisible(model, account))
    .sort(
      (a, b) => Number(b.account === account) - Number(a.account === account) || (a.name < b.name ? -1 : 1),
    );
}

function isVisible(model: RouteModel, account: string | null): boolean {
  return model.isPublic || model.account === account;
}

/** True when the engine answers to this selector itself, so that the body can go on as it came. */
export function isServedName(model: RouteModel, selector: string): boolean {
  return (
    selector === model.name ||
    selector === model.name.slice(model.account.length + 1) ||
    selector === `${idPrefix}${model.deploymentId}`
  );
}

/** What it is for and what its engine can do, in the words that clients know. */
function tagsOf({ task, abilities }: RouteModel): string[] {
  if (task === "embeddings") return ["embeddings"];
  // Of an engine that is not known yet nothing is promised.
  if (abilities.engine === unknownAbilities.engine) return ["chat"];
  return [
    "chat",
    ...(abilities.images ? ["vision"] : []),
    ...(abilities.cacheScope === "none" ? [] : ["prompt_cache"]),
    ...(abilities.reasoning ? ["reasoning", "reasoning_effort"] : []),
  ];
}

/** One entry of the OpenAI model list. Prices are US dollars per million tokens; Berth's default is none. */
export function describeModel(model: RouteModel): Record<string, unknown> {
  return {
    id: model.name,
    object: "model",
    created: Math.floor(model.createdAtMs / 1000),
    owned_by: model.account,
    root: model.name,
    parent: null,
    metadata: {
      description: "",
      context_length: model.contextTokens > 0 ? model.contextTokens : null,
      max_tokens: model.contextTokens > 0 ? model.contextTokens : null,
      pricing: {
        input_tokens: model.prices.inputUsd,
        output_tokens: model.prices.outputUsd,
        cache_read_tokens: model.prices.cachedUsd,
      },
      tags: tagsOf(model),
    },
  };
}
