/**
 * Wires the process that owns the store: deploy API, reconciler, hub. Flat, decides nothing.
 */

import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createApi } from "../api/app.ts";
import { askEngineLoads } from "../api/engine-loads.ts";
import { refuseByEngines } from "../api/engine-refusal.ts";
import { prepareInstallation } from "../api/first-start.ts";
import { createLink } from "../api/link.ts";
import { controlMetrics } from "../api/metrics.ts";
import { chooseByEngines } from "../api/model-look.ts";
import { createScopeJudge } from "../api/scopes.ts";
import { readCatalogue } from "../catalogue/read.ts";
import { gpuLimit } from "../core/gpu-quota.ts";
import { addToRate, quiet, readRate } from "../core/live-rate.ts";
import { servesAccount } from "../core/token-owner.ts";
import { weightFilesChooser } from "../engines/weight-files.ts";
import { cacheFolder } from "../hub/cache-folder.ts";
import { openHubRoom } from "../hub/room.ts";
import { createReconciler } from "../reconciler/reconciler.ts";
import { createRoutingFeed, notifyingStore, type RoutingFeed } from "../reconciler/routing-feed.ts";
import { createUsageKeeper, type UsageKeeper } from "../reconciler/usage-keeper.ts";
import { type Settings, SettingsError } from "../settings.ts";
import { readPrices } from "../settings-files.ts";
import { listed } from "../settings-kinds.ts";
import { defaultAccountName } from "../settings-read.ts";
import { outageOf } from "../store/outage.ts";
import { openStore } from "../store/store.ts";
import { openVault } from "../store/vault.ts";
import { answerSupervisor, endOnSignal, onSupervisorMessage, tellSupervisor } from "../supervisor/child.ts";
import type { Restart } from "../supervisor/message.ts";
import { systemClock } from "../telemetry/clock.ts";
import { engineGraceMs, firstTokenMs, openDriver, openEngines } from "./machine.ts";
import { loadSettings, openLog, publicUrl, root, sockets, takeLock, version } from "./process.ts";

const dayMs = 86_400_000;

const idAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const newId = (length: number) =>
  Array.from({ length }, () => idAlphabet[randomInt(idAlphabet.length)]).join("");
const newSecret = () => `berth_${randomBytes(24).toString("base64url")}`;

function openCatalogue(settings: Settings) {
  const own = join(root, "src/catalogue/models.yaml");
  const { BERTH_CATALOGUE: further } = settings;
  if (further === undefined) return readCatalogue([own]);
  try {
    return readCatalogue([own, further]);
  } catch (error) {
    throw new SettingsError(
      `BERTH_CATALOGUE is ${further}, which cannot be used: ${(error as Error).message}`,
    );
  }
}

/** HF_TOKEN where this account may use it: one that an administrator named, by default the first. */
function installationToken(settings: Settings, firstAccount: string, account: string): string | null {
  const isServed = servesAccount(settings.BERTH_HF_TOKEN_ACCOUNTS, firstAccount, account);
  return isServed ? (settings.HF_TOKEN ?? null) : null;
}

/** The process that owns the store: deploy API, reconciler, hub. */
export async function runControl(): Promise<void> {
  const settings = loadSettings();
  const log = openLog("control", settings);
  const home = settings.BERTH_HOME;
  // A predecessor that was cut off from its supervisor may need a moment to notice.
  await takeLock(
    join(home, "control.lock"),
    10_000,
    `Another Berth works on ${home}. Stop it, or set another BERTH_HOME.`,
  );

  const vault = openVault({ home, secretKeyHex: settings.BERTH_SECRET_KEY ?? null });
  const rawStore = await openStore({ home, databaseUrl: settings.DATABASE_URL ?? null });
  let feed: RoutingFeed | null = null;
  let keeper: UsageKeeper | null = null;
  const store = notifyingStore(rawStore, () => {
    feed?.changed();
    keeper?.poke();
  });
  const prices = readPrices(settings);
  const account = settings.BERTH_ACCOUNT ?? defaultAccountName();
  const firstStart = await prepareInstallation({
    ...{ store, vault, clock: systemClock, home, account },
    fixedToken: settings.BERTH_API_TOKEN ?? null,
    withStarter: settings.BERTH_STARTER,
    newId: () => newId(16),
  });

  const tokenOf = (name: string) => installationToken(settings, account, name);
  const hubRoom = openHubRoom({
    home,
    folder: cacheFolder(settings.BERTH_HUB_CACHE, home, process.env, homedir()),
    localRoots: listed(settings.BERTH_LOCAL_ROOTS),
    maxBytes: settings.BERTH_HUB_MAX_GB === 0 ? null : settings.BERTH_HUB_MAX_GB * 1e9,
    endpoint: settings.HF_ENDPOINT,
    allowPrivateRedirects: settings.BERTH_HUB_PRIVATE,
    builtin: new Map([["berth/starter", join(root, "starter/model")]]),
    chooseFiles: weightFilesChooser({ allowPickle: settings.BERTH_ALLOW_PICKLE }),
    deployments: () => store.deployments({ includeDeleted: false }),
    tokenOf,
    async tokenOfDeployment(deployment) {
      const sealed = await store.sealedHfToken(deployment.id);
      return sealed === null ? null : vault.open(sealed, `hf-token:${deployment.id}`);
    },
    ...{ clock: systemClock, log, newId: () => newId(12) },
    limits: { maxConnections: settings.BERTH_HUB_CONNECTIONS },
  });
  const { hub } = hubRoom;
  const machine = await openEngines(settings, log);
  const { engines } = machine;
  const driver = openDriver(settings, machine, log);
  const accountRates = {
    concurrentRequests: settings.BERTH_ACCOUNT_CONCURRENCY,
    requestsPerMinute: settings.BERTH_ACCOUNT_RPM,
    tokensPerMinute: settings.BERTH_ACCOUNT_TPM,
  };
  const reconciler = createReconciler({
    ...{ store, hub, driver, clock: systemClock, log, engines },
    engineMemory: settings.BERTH_ENGINE_MEMORY,
    limits: {
      loadTries: settings.BERTH_LOAD_TRIES,
      restarts: settings.BERTH_RESTARTS,
      drainMs: settings.BERTH_DRAIN_S * 1000,
      inactiveShutdownMs: settings.BERTH_INACTIVE_SHUTDOWN_S * 1000,
      scaleDownMs: settings.BERTH_SCALE_DOWN_S * 1000,
      scaleFull: settings.BERTH_SCALE_FULL,
      scaleCover: settings.BERTH_SCALE_COVER,
      stopGraceMs: engineGraceMs,
      firstTokenMs: firstTokenMs(settings),
      sweepMs: 60_000,
    },
    gpuLimit: async (name, gpu) => {
      const { limits } = await store.access.terms(name);
      return gpuLimit({ limits, defaultGpus: settings.BERTH_ACCOUNT_GPUS }, gpu);
    },
    newInstanceId: () => newId(12),
    hfToken: async (deployment) => {
      const sealed = await store.sealedHfToken(deployment.id);
      if (sealed !== null) return vault.open(sealed, `hf-token:${deployment.id}`);
      return tokenOf(deployment.account);
    },
  });
  feed = createRoutingFeed({
    store,
    clock: systemClock,
    secrets: reconciler.secrets,
    abilities: new Map([...engines].map(([name, engine]) => [name, engine.abilities])),
    defaultLimits: accountRates,
    prices: prices.models,
    log,
  });
  keeper = createUsageKeeper({
    ...{ store, clock: systemClock, prices, log },
    limits: {
      recordsMs: settings.BERTH_RECORDS_DAYS * dayMs,
      maxRecords: settings.BERTH_RECORDS_MAX,
      sumsMs: settings.BERTH_STATS_DAYS * dayMs,
    },
  });

  let isGoingDown = false;
  let restarts: readonly Restart[] = [];
  onSupervisorMessage((message) => {
    if (message.type === "restarts") restarts = message.restarts;
  });
  let rate = quiet;
  const { app } = createApi({
    ...{ store, vault, clock: systemClock, version, newSecret, log, prices },
    liveRate: () => readRate(rate, systemClock.now()),
    limits: {
      quotaGpus: settings.BERTH_QUOTA_GPUS,
      bodyBytes: 2 ** 20,
      accountGpus: settings.BERTH_ACCOUNT_GPUS,
      accountRates,
      audit: { max: settings.BERTH_AUDIT_MAX, ageMs: settings.BERTH_AUDIT_DAYS * dayMs },
    },
    hub: { ...hubRoom, tokenOf },
    newId: () => newId(16),
    capacity: () => driver.capacity(),
    isolation: () => driver.isolation(),
    acceptsSharedEngines: settings.BERTH_SHARED_ENGINES,
    catalogue: openCatalogue(settings),
    containerImages: listed(settings.BERTH_CONTAINER_IMAGES),
    baseUrl: publicUrl(settings, settings.BERTH_PORT),
    engineNames: [...engines.keys()],
    refuseArgs: (engine, args) => refuseByEngines(engines, engine, args),
    chooseEngine: (listing, quantization) => chooseByEngines(engines, listing, quantization),
    poke: reconciler.poke,
    routesVersion: feed.settled,
    progressOf: reconciler.progressOf,
    outageOf,
    readLogs: (deploymentId) => driver.readLogs(deploymentId),
    restarts: () => restarts,
    down: () => {
      isGoingDown = true;
      tellSupervisor({ type: "down" });
    },
  });
  const link = createLink({
    snapshot: feed.current,
    onSnapshot: feed.onSnapshot,
    onLoad: reconciler.takeLoad,
    metrics: () =>
      controlMetrics({
        ...{ store, clock: systemClock, progressOf: reconciler.progressOf },
        observe: () => driver.observe(),
        engineLoads: () => askEngineLoads({ store, driver, engines }),
      }),
    judgeScope: createScopeJudge({ store, vault, clock: systemClock }),
    onRecords: async ({ records }) => {
      const fresh = await store.usage.add(records);
      rate = addToRate(rate, fresh, systemClock.now());
    },
    onGatewayGone: reconciler.dropGateway,
    log,
  });

  await reconciler.start();
  await feed.start();
  keeper.start();
  const { api: apiSocket, link: linkSocket } = sockets(settings);
  for (const path of [apiSocket, linkSocket]) rmSync(path, { force: true });
  await app.listen({ path: apiSocket });
  await once(link.listen(linkSocket), "listening");
  for (const path of [apiSocket, linkSocket]) chmodSync(path, 0o600);
  const { newToken, tokenFile } = firstStart;
  tellSupervisor({
    type: "ready",
    details: { account, newToken: newToken ?? "", tokenFile: tokenFile ?? "" },
  });
  answerSupervisor();

  endOnSignal(async () => {
    link.closeAllConnections();
    link.close();
    await app.close();
    if (isGoingDown) await reconciler.endAll();
    else await reconciler.stop();
    await keeper?.stop();
    await feed?.stop();
    await hubRoom.close();
    await driver.close();
    await store.close();
  });
}
