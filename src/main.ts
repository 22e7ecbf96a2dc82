/**
 * The wiring of each role, flat: `serve` (the supervisor), `control` and `gateway` (its children), `down`, and the
 * command line for everything else. Decides nothing; nothing imports it.
 */
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createApi } from "./api/app.ts";
import { refuseByEngines } from "./api/engine-refusal.ts";
import { prepareInstallation } from "./api/first-start.ts";
import { createLink } from "./api/link.ts";
import { controlMetrics } from "./api/metrics.ts";
import { createScopeJudge } from "./api/scopes.ts";
import { readCatalogue } from "./catalogue/read.ts";
import { banner } from "./cli/banner.ts";
import { createCli } from "./cli/program.ts";
import { addToRate, quiet, readRate } from "./core/live-rate.ts";
import { createLocalDriver } from "./drivers/local/driver.ts";
import { createEmbeddedEngine } from "./engines/embedded.ts";
import { weightFilesChooser } from "./engines/weight-files.ts";
import { createGateway } from "./gateway/server.ts";
import { createSpool } from "./gateway/spool.ts";
import { usageRecordOf } from "./gateway/usage-record.ts";
import { cacheFolder } from "./hub/cache-folder.ts";
import { openHubRoom } from "./hub/room.ts";
import type { Engine } from "./ports.ts";
import { createReconciler } from "./reconciler/reconciler.ts";
import { createRoutingFeed, notifyingStore, type RoutingFeed } from "./reconciler/routing-feed.ts";
import { createUsageKeeper, type UsageKeeper } from "./reconciler/usage-keeper.ts";
import { defaultAccountName, listed, readSettings, type Settings, SettingsError } from "./settings.ts";
import { makeHome, readPrices, readSettingsFile, readTls } from "./settings-files.ts";
import { StoreError } from "./store/error.ts";
import { outageOf } from "./store/outage.ts";
import { openStore } from "./store/store.ts";
import { openVault } from "./store/vault.ts";
import { choosePort, explainListenError, isLoopback, reachableHost } from "./supervisor/address.ts";
import { configurationExitCode, endOnSignal, tellSupervisor } from "./supervisor/child.ts";
import { type HeldLock, waitForLock } from "./supervisor/lock.ts";
import { runDirectory } from "./supervisor/run-directory.ts";
import { supervise } from "./supervisor/supervise.ts";
import { systemClock } from "./telemetry/clock.ts";
import { createLog, type Log } from "./telemetry/log.ts";

const root = new URL("..", import.meta.url).pathname;
const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;

const dayMs = 86_400_000;

/** How long an engine may take to end before it is killed. */
const engineGraceMs = 5_000;

const idAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const newId = (length: number) =>
  Array.from({ length }, () => idAlphabet[randomInt(idAlphabet.length)]).join("");
const newSecret = () => `berth_${randomBytes(24).toString("base64url")}`;

function loadSettings(extra: Readonly<Record<string, string>> = {}): Settings {
  const env = { ...process.env, ...extra };
  const home = readSettings({ BERTH_HOME: env.BERTH_HOME }, null).BERTH_HOME;
  return readSettings(env, readSettingsFile(join(home, "berth.yaml")));
}

function openLog(role: string, settings: Settings): Log {
  return createLog({
    role,
    level: settings.BERTH_LOG_LEVEL,
    isTerminal: process.stderr.isTTY === true,
    write: (line) => process.stderr.write(line),
  });
}

function sockets(settings: Settings): { directory: string; api: string; link: string } {
  const directory = runDirectory(settings.BERTH_HOME);
  return { directory, api: join(directory, "api.sock"), link: join(directory, "link.sock") };
}

function openEngines(settings: Settings): ReadonlyMap<string, Engine> {
  const embedded = createEmbeddedEngine({
    nodePath: process.execPath,
    serverPath: join(root, "src/engines/embedded/server.ts"),
    contextMemoryBytes: settings.BERTH_CPU_CONTEXT_MB * 2 ** 20,
    threads: settings.BERTH_CPU_THREADS,
  });
  return new Map([[embedded.name, embedded]]);
}

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

function publicUrl(settings: Settings, port: number): string {
  const scheme = settings.BERTH_TLS_CERT === undefined ? "http" : "https";
  return `${scheme}://${reachableHost(settings.BERTH_HOST)}:${port}`;
}

function openDriver(settings: Settings, log: Log) {
  return createLocalDriver({
    home: settings.BERTH_HOME,
    socketDirectory: sockets(settings).directory,
    engines: openEngines(settings),
    clock: systemClock,
    readyTimeoutMs: settings.BERTH_LOAD_S * 1000,
    environment: process.env,
    log,
  });
}

/** HF_TOKEN where this account may use it: one that an administrator named, by default the first. */
function installationToken(settings: Settings, firstAccount: string, account: string): string | null {
  const named = settings.BERTH_HF_TOKEN_ACCOUNTS?.split(",").map((name) => name.trim()) ?? [firstAccount];
  const isNamed = named.some((name) => name.toLowerCase() === account.toLowerCase());
  return isNamed ? (settings.HF_TOKEN ?? null) : null;
}

/** The process that owns the store: deploy API, reconciler, hub. */
async function runControl(): Promise<void> {
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
  const driver = openDriver(settings, log);
  const engines = openEngines(settings);
  const accountRates = {
    concurrentRequests: settings.BERTH_ACCOUNT_CONCURRENCY,
    requestsPerMinute: settings.BERTH_ACCOUNT_RPM,
    tokensPerMinute: settings.BERTH_ACCOUNT_TPM,
  };
  const reconciler = createReconciler({
    ...{ store, hub, driver, clock: systemClock, log, engines },
    limits: {
      loadTries: settings.BERTH_LOAD_TRIES,
      drainMs: settings.BERTH_DRAIN_S * 1000,
      inactiveShutdownMs: settings.BERTH_INACTIVE_SHUTDOWN_S * 1000,
      stopGraceMs: engineGraceMs,
      sweepMs: 60_000,
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
    loadTimesMs: reconciler.loadTimesMs,
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
    catalogue: openCatalogue(settings),
    containerImages: listed(settings.BERTH_CONTAINER_IMAGES),
    baseUrl: publicUrl(settings, settings.BERTH_PORT),
    engineNames: [...engines.keys()],
    refuseArgs: (engine, args) => refuseByEngines(engines, engine, args),
    poke: reconciler.poke,
    routesVersion: feed.settled,
    progressOf: reconciler.progressOf,
    outageOf,
    readLogs: (deploymentId) => driver.readLogs(deploymentId),
    down: () => {
      isGoingDown = true;
      tellSupervisor({ type: "down" });
    },
  });
  const link = createLink({
    snapshot: feed.current,
    onSnapshot: feed.onSnapshot,
    onLoad: reconciler.takeLoad,
    metrics: () => controlMetrics({ store, progressOf: reconciler.progressOf }),
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

/** The process that owns the public port. */
async function runGateway(): Promise<void> {
  const settings = loadSettings();
  const log = openLog("gateway", settings);
  const { api, link } = sockets(settings);
  const gatewayId = randomUUID();
  const spool = createSpool({
    ...{ gatewayId, linkSocket: link, clock: systemClock, log },
    root: join(settings.BERTH_HOME, "spool"),
    maxBytes: settings.BERTH_SPOOL_MB * 1_000_000,
  });
  let records = 0;
  const gateway = createGateway({
    gatewayId,
    linkSocket: link,
    apiSocket: api,
    host: settings.BERTH_HOST,
    port: settings.BERTH_PORT,
    tls: readTls(settings),
    trustedProxies: listed(settings.BERTH_TRUSTED_PROXIES),
    corsOrigins: listed(settings.BERTH_CORS_ORIGINS.toLowerCase()),
    webhookTargets: listed(settings.BERTH_WEBHOOK_TARGETS),
    limits: {
      waitMs: settings.BERTH_WAIT_S * 1000,
      queueMax: settings.BERTH_QUEUE,
      keepAliveMs: settings.BERTH_KEEP_ALIVE_S * 1000,
      queueBytes: settings.BERTH_QUEUE_MB * 2 ** 20,
      bodyBytes: settings.BERTH_BODY_MB * 1_000_000,
      drainMs: settings.BERTH_DRAIN_S * 1000,
      headMs: 30_000,
      uploadMs: 300_000,
      snapshotMaxAgeMs: 3_600_000,
      slotWaitMs: settings.BERTH_QUEUE_WAIT_S * 1000,
      connectMs: settings.BERTH_CONNECT_S * 1000,
      firstTokenMs: settings.BERTH_FIRST_TOKEN_S * 1000,
      silenceMs: settings.BERTH_SILENCE_S * 1000,
      totalMs: settings.BERTH_TOTAL_S * 1000,
    },
    continuesStreams: settings.BERTH_CONTINUE,
    clock: systemClock,
    log,
    readSpool: async () => ({ bytes: await spool.waitingBytes(), dropped: spool.dropped }),
    onRecord(record) {
      const usage = usageRecordOf(record, `${gatewayId}.${records + 1}`);
      if (usage === null) return;
      records += 1;
      spool.add(usage);
    },
  });
  const { host, port } = await gateway.start();
  spool.start();
  endOnSignal(async () => {
    await gateway.stop();
    await spool.stop();
  });
  // Before, it answers, but only with 503.
  await gateway.routed;
  tellSupervisor({ type: "ready", details: { host, port: String(port) } });
}

/** The supervisor: keeps control and gateway running, and tells the person where Berth is. */
async function serve(extra: Readonly<Record<string, string>>): Promise<number> {
  const settings = loadSettings(extra);
  const log = openLog("serve", settings);
  const home = settings.BERTH_HOME;
  // What would end the gateway is said before control makes a state or starts an engine.
  readTls(settings);
  readPrices(settings);
  makeHome(home);
  const busy = `Berth already runs on ${home}. Stop it first, or set another BERTH_HOME.`;
  const lock = await takeLock(join(home, "serve.lock"), 0, busy);
  // Chosen once, here, so that a gateway that is started again comes back on the same port.
  const port = await choosePort(settings.BERTH_HOST, settings.BERTH_PORT);
  const env = { ...process.env, ...extra, BERTH_PORT: String(port) };
  const url = publicUrl(settings, port);
  if (url.startsWith("http:") && !isLoopback(settings.BERTH_HOST)) {
    log(
      "warn",
      "The port is open to the network in plain text, so tokens can be read on the way. Set BERTH_TLS_CERT and BERTH_TLS_KEY, or put a proxy that speaks TLS before it.",
    );
  }
  const ready = new Map<string, Readonly<Record<string, string>>>();
  const roles = (["control", "gateway"] as const).map((name) => ({
    name,
    command: process.execPath,
    // A large space for new objects (in MB) lets the process grow to several times what it has in use.
    args: ["--max-semi-space-size=8", join(root, "src/main.ts"), name],
    env,
  }));
  const supervisor = supervise({
    roles,
    clock: systemClock,
    stopGraceMs: settings.BERTH_DRAIN_S * 1000 + 10_000,
    log,
    onReady(role, details) {
      const isFirst = ready.size < roles.length;
      ready.set(role, details);
      const first = ready.get("control");
      if (!isFirst || ready.size < roles.length || first === undefined) return;
      writeAddress(home, url, log);
      const { account = "", newToken = "", tokenFile = "" } = first;
      process.stdout.write(
        banner({
          ...{ version, url, account },
          newToken: newToken === "" ? null : newToken,
          tokenFile: tokenFile === "" ? null : tokenFile,
          hasStarter: settings.BERTH_STARTER,
        }),
      );
    },
  });
  const exitCode = await supervisor.done;
  lock.release();
  return exitCode;
}

/** For commands on this machine, which then need no address. Berth itself does without, on a full disk for instance. */
function writeAddress(home: string, url: string, log: Log): void {
  try {
    writeFileSync(join(home, "address"), `${url}\n`);
  } catch (error) {
    log("warn", "the address could not be written; name it with BERTH_URL", { error: String(error) });
  }
}

/** Ends the engines of a Berth that does not run any more. */
async function down(extra: Readonly<Record<string, string>>, wantsJson: boolean): Promise<number> {
  const settings = loadSettings(extra);
  const log = openLog("down", { ...settings, BERTH_LOG_LEVEL: "warn" });
  const home = settings.BERTH_HOME;
  const ended = existsSync(home) ? await endEngines(settings, log) : 0;
  const engines = ended === 1 ? "1 engine" : `${ended} engines`;
  process.stdout.write(
    wantsJson
      ? `${JSON.stringify({ status: "stopped", engines: ended })}\n`
      : `Berth was not running; ${engines} ended.\n`,
  );
  return 0;
}

/** Ends every engine that is left on this home and returns how many there were. */
async function endEngines(settings: Settings, log: Log): Promise<number> {
  const home = settings.BERTH_HOME;
  const lock = await takeLock(
    join(home, "control.lock"),
    10_000,
    `Berth runs on ${home} but does not answer; see its log.`,
  );
  const driver = openDriver(settings, log);
  const instances = await driver.observe();
  await Promise.all(instances.map((instance) => driver.remove(instance.id, engineGraceMs)));
  await driver.close();
  lock.release();
  return instances.length;
}

/** @throws SettingsError with `message` when another process still holds the lock after `waitMs` */
async function takeLock(path: string, waitMs: number, message: string): Promise<HeldLock> {
  const lock = await waitForLock(path, waitMs, systemClock);
  if (lock === null) throw new SettingsError(message);
  return lock;
}

async function runCli(argv: readonly string[]): Promise<number> {
  const cli = createCli({
    env: process.env,
    ...{ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
    ...{ fetch, clock: systemClock, version },
    onInterrupt(listener) {
      process.on("SIGINT", listener);
      return () => process.off("SIGINT", listener);
    },
    serve: ({ settings }) => serve(settings),
    down: ({ settings, json }) => down(settings, json),
  });
  return await cli.run(argv);
}

/** Expected refusals are one line; the rest is a defect and shows where. */
function explainEnd(error: unknown): number {
  const expected =
    error instanceof SettingsError || error instanceof StoreError ? error.message : explainListenError(error);
  process.stderr.write(`berth: ${expected ?? (error as Error).stack ?? String(error)}\n`);
  return expected === null ? 1 : configurationExitCode;
}

const [role = "", ...rest] = process.argv.slice(2);
try {
  if (role === "control" && rest.length === 0) await runControl();
  else if (role === "gateway" && rest.length === 0) await runGateway();
  else process.exitCode = await runCli(process.argv.slice(2));
} catch (error) {
  process.exit(explainEnd(error));
}
