/**
 * Puts the room together: the hub that deployments are served by, the care of its cache, the jobs on it, and the mirror.
 * Decides nothing.
 */
import { join } from "node:path";
import type { Deployment } from "../core/deployment.ts";
import type { Hub, RepoListing } from "../ports/hub.ts";
import type { HubCache, HubJobs } from "../ports/hub-cache.ts";
import type { Mirror } from "../ports/mirror.ts";
import { Cache } from "./cache.ts";
import type { CacheFolder } from "./cache-folder.ts";
import { createHub, type HubOptions } from "./hub.ts";
import { createHubJobs } from "./jobs.ts";
import { Keeper, type Need } from "./keeper.ts";
import { keepHub } from "./kept-hub.ts";
import { Ledger } from "./ledger.ts";
import { createLocalHub, withLocal } from "./local-hub.ts";
import { createMirror } from "./mirror/mirror.ts";
import { plainRepo } from "./names.ts";

export type HubRoomOptions = Omit<HubOptions, "cacheFolder"> & {
  readonly folder: CacheFolder;
  /** Folders whose models may be deployed where they are, absolute. */
  readonly localRoots: readonly string[];
  /** BERTH_HUB_MAX_GB in bytes, null for no limit. */
  readonly maxBytes: number | null;
  /** All that are not deleted. */
  deployments(): Promise<readonly Deployment[]>;
  /** HF_TOKEN where this account may use it, else null. */
  tokenOf(account: string): string | null;
  /** The Hugging Face token that was given with this deployment, null for none. */
  tokenOfDeployment(deployment: Deployment): Promise<string | null>;
  newId(): string;
  log(level: "error", message: string, fields?: Record<string, unknown>): void;
};

export type HubRoom = {
  readonly hub: Hub;
  readonly cache: HubCache;
  readonly jobs: HubJobs;
  readonly mirror: Mirror;
  /** Ends the jobs. */
  close(): Promise<void>;
};

/** Tokens of one account that are tried for one repository. */
const maxTokens = 8;

export function openHubRoom(options: HubRoomOptions): HubRoom {
  const { folder, clock, chooseFiles } = options;
  const keeper = new Keeper({
    root: folder.path,
    isShared: folder.isShared,
    ledger: new Ledger(join(options.home, "hub-ledger")),
    needs: async () => (await options.deployments()).flatMap(needOf),
  });
  const cached = keepHub(
    createHub({ ...options, cacheFolder: folder.path }),
    keeper,
    clock,
    options.maxBytes,
  );
  const hub = withLocal(cached, createLocalHub({ roots: options.localRoots, chooseFiles }));
  const jobs = createHubJobs({ hub, cache: keeper, chooseFiles, newId: options.newId, log: options.log });
  const mirror = createMirror({
    ...{ hub, keeper, chooseFiles, clock },
    cache: new Cache(folder.path),
    tokensOf: (account, repo) => tokensFor(options, account, repo),
    boundTo: async (account, repo) => boundTo(await options.deployments(), account, repo),
  });
  return { hub, cache: keeper, jobs, mirror, close: () => jobs.close() };
}

function needOf({ config, resolved }: Deployment): Need[] {
  const repo = plainRepo(config.weights.repo);
  return resolved === null || repo === null ? [] : [{ repo, commit: resolved.commit, files: resolved.files }];
}

/** Newest first. */
function boundTo(deployments: readonly Deployment[], account: string, repo: string): RepoListing[] {
  return deployments
    .filter((one) => one.account === account && plainRepo(one.config.weights.repo) === repo)
    .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
    .flatMap(({ resolved }) =>
      resolved === null ? [] : [{ repo, commit: resolved.commit, files: resolved.files }],
    );
}

/** None first, as most repositories are public; then those given for this very repository. */
async function tokensFor(
  options: HubRoomOptions,
  account: string,
  repo: string,
): Promise<readonly (string | null)[]> {
  const own = (await options.deployments()).filter((deployment) => deployment.account === account);
  const isFor = (deployment: Deployment) => plainRepo(deployment.config.weights.repo) === repo;
  const tokens = new Set<string | null>([null]);
  for (const deployment of [...own.filter(isFor), ...own.filter((one) => !isFor(one))]) {
    if (tokens.size >= maxTokens) break;
    const token = await options.tokenOfDeployment(deployment);
    if (token !== null) tokens.add(token);
  }
  const installation = options.tokenOf(account);
  if (installation !== null) tokens.add(installation);
  return [...tokens];
}
