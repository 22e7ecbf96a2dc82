/**
 * The API as it really is, over a real store in a temporary folder, for tests: what stands behind it (reconciler, driver,
 * process) is recorded instead of run. Two accounts and an administrator are there.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { createApi } from "../../src/api/app.ts";
import { hashToken } from "../../src/api/auth.ts";
import type { ApiDeps } from "../../src/api/deps.ts";
import { prepareInstallation } from "../../src/api/first-start.ts";
import type { Operation } from "../../src/api/operation.ts";
import { readCatalogue } from "../../src/catalogue/read.ts";
import { noRates } from "../../src/core/account.ts";
import type { DownloadProgress } from "../../src/core/event.ts";
import type { NodeCapacity } from "../../src/core/instance.ts";
import type { Isolation } from "../../src/core/isolation.ts";
import { weightFilesChooser } from "../../src/engines/weight-files.ts";
import { openHubRoom } from "../../src/hub/room.ts";
import type { InstanceLog } from "../../src/ports/driver.ts";
import type { Hub } from "../../src/ports/hub.ts";
import type { Store } from "../../src/ports/store.ts";
import type { Vault } from "../../src/ports/vault.ts";
import { outageOf } from "../../src/store/outage.ts";
import { openStore } from "../../src/store/store.ts";
import { openVault } from "../../src/store/vault.ts";

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Parsed, or undefined when the body is no JSON. */
  readonly json: unknown;
};

export type RealApi = {
  readonly app: FastifyInstance;
  readonly operations: readonly Operation[];
  readonly store: Store;
  readonly hub: Hub;
  /** The database, for tests that look behind the API. */
  readonly databaseFile: string;
  readonly vault: Vault;
  /** Tokens by account: `root` is the administrator. */
  readonly tokens: { readonly root: string; readonly ann: string; readonly bob: string };
  readonly poked: string[];
  readonly logged: string[];
  /** How often `down` was called. */
  downs(): number;
  /** Milliseconds; tests move it. */
  now: number;
  nodes: readonly NodeCapacity[];
  /** May be changed at any time. */
  isolation: Isolation;
  logs: readonly InstanceLog[];
  progress: DownloadProgress | null;
  /** A JSON body unless `body` is text or bytes; as `ann` unless said otherwise. */
  call(
    method: string,
    url: string,
    options?: { body?: unknown; token?: string | null; headers?: Record<string, string> },
  ): Promise<Answer>;
  close(): Promise<void>;
};

export const allowedImage = `engines/one@sha256:${"a".repeat(64)}`;

export const cpuNode: NodeCapacity = { node: "local", cpuCores: 4, memoryBytes: 16 * 2 ** 30, gpus: [] };

const catalogue = readCatalogue([join(import.meta.dirname, "../../src/catalogue/models.yaml")]);

/** @param more what is run after all, instead of recorded */
export async function startRealApi(more: Partial<ApiDeps> = {}): Promise<RealApi> {
  const home = await mkdtemp(join(tmpdir(), "berth-api-"));
  const store = await openStore({ home, databaseUrl: null });
  const vault = openVault({ home, secretKeyHex: null });
  const tokens = {
    root: "root-token-0123456789",
    ann: "ann-token-0123456789",
    bob: "bob-token-0123456789",
  };
  const poked: string[] = [];
  const logged: string[] = [];
  let ids = 0;
  let downs = 0;
  const clock = { now: () => api.now, sleep: async () => undefined };
  const newId = () => {
    ids += 1;
    return `id${String(ids).padStart(14, "0")}`;
  };
  const hubRoom = openHubRoom({
    home,
    folder: { path: join(home, "hub"), isShared: false },
    localRoots: [],
    maxBytes: null,
    endpoint: "http://127.0.0.1:9",
    allowPrivateRedirects: false,
    builtin: new Map([["berth/starter", new URL("../../starter/model", import.meta.url).pathname]]),
    chooseFiles: weightFilesChooser({ allowPickle: false }),
    deployments: () => store.deployments({ includeDeleted: false }),
    tokenOf: () => null,
    tokenOfDeployment: async () => null,
    ...{ clock, newId, log: () => undefined },
  });
  const { app, operations } = createApi({
    store,
    vault,
    hub: { ...hubRoom, tokenOf: () => null },
    clock,
    version: "0.0.0-test",
    limits: {
      quotaGpus: 64,
      bodyBytes: 1_000_000,
      accountGpus: 1024,
      accountRates: { concurrentRequests: 0, requestsPerMinute: 0, tokensPerMinute: 0 },
      audit: { max: 100_000, ageMs: 365 * 86_400_000 },
    },
    catalogue,
    containerImages: [allowedImage],
    baseUrl: "http://berth.test",
    engineNames: ["test"],
    refuseArgs: (_engine, { extraArgs }) =>
      extraArgs.includes("--unknown") ? "The test engine has no --unknown." : null,
    chooseEngine: ({ files }) => ({
      engine: "test",
      runsOn: "cpu",
      memory: null,
      files: files.filter(({ path }) => path.endsWith(".gguf")),
    }),
    newId,
    newSecret: () => `berth_secret_${newId()}`,
    capacity: async () => api.nodes,
    isolation: async () => api.isolation,
    acceptsSharedEngines: false,
    poke: (id) => poked.push(id),
    routesVersion: async () => 1,
    progressOf: () => api.progress,
    outageOf,
    prices: {
      models: new Map([["ann/m", { inputUsd: 1, outputUsd: 2, cachedUsd: 0.5 }]]),
      gpus: new Map([["H100-80GB", 2]]),
    },
    liveRate: () => ({ requestsPerS: 0, tokensPerS: 0, ttftS: null }),
    readLogs: async () => api.logs,
    restarts: () => [],
    down: () => {
      downs += 1;
    },
    log: (level, message, fields) => logged.push(JSON.stringify({ level, message, ...fields })),
    ...more,
  });
  const api: RealApi = {
    app,
    operations,
    store,
    hub: hubRoom.hub,
    databaseFile: join(home, "berth.db"),
    vault,
    tokens,
    poked,
    logged,
    downs: () => downs,
    now: Date.UTC(2026, 10, 23, 12),
    nodes: [cpuNode],
    isolation: { isIsolated: true },
    logs: [],
    progress: null,
    call: async (method, url, { body, token = tokens.ann, headers = {} } = {}) => {
      const isRaw = typeof body === "string" || body instanceof Buffer;
      const response = await app.inject({
        method: method as "GET",
        url,
        headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
        ...(body === undefined ? {} : { payload: isRaw ? body : JSON.stringify(body) }),
      });
      return {
        status: response.statusCode,
        headers: response.headers,
        text: response.body,
        json: readJson(response.body),
      };
    },
    close: async () => {
      await app.close();
      await hubRoom.close();
      await store.close();
      await rm(home, { recursive: true, force: true });
    },
  };
  await prepareInstallation({
    store,
    vault,
    clock,
    home,
    account: "root",
    fixedToken: tokens.root,
    withStarter: true,
    newId,
  });
  for (const name of ["ann", "bob"] as const) {
    await store.addAccount({ name, isAdmin: false, createdAtMs: api.now });
    const id = newId();
    const hash = hashToken(tokens[name]);
    const token = { id, account: name, name: "first", hash, fragment: "56789", createdAtMs: api.now };
    await store.addToken(
      { ...token, allowedIps: null, rates: noRates },
      vault.seal(tokens[name], `api-token:${id}`),
    );
  }
  return api;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
