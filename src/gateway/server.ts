/**
 * The gateway: the public port and everything behind it, put together. Owns listening and stopping; must not decide what a
 * neighbour decides.
 */
import type { GatewayView } from "../core/gateway-view.ts";
import { readTargets, type WebhookTargets } from "../core/webhook.ts";
import { HttpError } from "../schema/errors.ts";
import { createAdmission } from "./admission.ts";
import { createAuthenticator } from "./auth.ts";
import { AwakeClock } from "./awake-clock.ts";
import { trustList } from "./client-address.ts";
import { HttpServer } from "./http/server.ts";
import { createLink } from "./link.ts";
import { lookEveryMs } from "./look-every.ts";
import { Metrics, type SpoolReading } from "./metrics.ts";
import { type Directory, indexSnapshot } from "./models.ts";
import type { GatewayOptions } from "./options.ts";
import { Peers } from "./peers.ts";
import { Reception } from "./reception.ts";
import { isProbe } from "./record.ts";
import { askAboutScope } from "./scope-question.ts";
import { createScopeBook } from "./scopes.ts";
import { createService } from "./service.ts";
import { TurnClock } from "./turn-clock.ts";
import { TurnEnd } from "./turn-end.ts";
import { EnginePool, shortestLimitMs } from "./upstream.ts";
import { createVersionGate } from "./version-gate.ts";
import { createWebhooks } from "./webhooks.ts";

export type Gateway = {
  /** Its port, where others share it: may rest while they have room. */
  readonly port: Pick<HttpServer, "rest" | "listenAgain">;
  /** Begins to follow control's routes, without opening the port. */
  follow(): void;
  /** Resolves when the port is open; routes may come later, until then inference answers 503. */
  start(): Promise<{ host: string; port: number }>;
  /** Where there may be other processes: hears them from now on. To be called before `enter`. */
  openToPeers(): Promise<void>;
  /** Enters a view of the processes, of which this is one. */
  enter(view: GatewayView): void;
  /** Resolves when this process may give slots out. */
  readonly settled: Promise<void>;
  /** Resolves when the first routes have come. */
  readonly routed: Promise<void>;
  /**
   * Takes no new connections, lets requests under way finish within limits.drainMs, then cuts them. With a successor at the
   * same socket, connections that wait for their next request may still send it, and are closed with its answer.
   */
  stop(hasSuccessor?: boolean): Promise<void>;
  /** Requests at engines and requests waiting, for tests and metrics. */
  load(): { running: number; queued: number };
};

/** How long a connection is kept that sends nothing. */
const idleMs = 65_000;
/** Control answers within milliseconds, and the database's own limits are shorter: then it hangs. */
const apiSilenceMs = 40_000;
/** Given to cut requests to hear why, before their connections are closed. */
const farewellMs = 500;
/** How long a kept connection may still bring a request after a successor has come; HTTP clients know within that it closes. */
const lingerMs = 2_000;
/** Between two looks whether other processes are done. */
const peersPollMs = 50;
const retryAfterS = 2;
/** Connections that may wait until they are accepted: those of the time in which a gateway is started again, too. */
const backlog = 4096;
const nothingSpooled: SpoolReading = { bytes: 0, dropped: 0 };
/** Longest that an answer of control waits for the routes it has caused; they take milliseconds. */
const routesWaitMs = 1000;
/** Control sends an empty line every 2 s; after three missed ones the connection counts as dead. */
const linkSilenceMs = 6000;

export function createGateway(options: GatewayOptions): Gateway {
  const { limits, clock, log } = options;
  const { now } = new TurnClock(() => clock.now());
  const { now: monotonic } = new TurnClock(() => performance.now());
  const lookMs = lookEveryMs(shortestLimitMs(limits));
  // One for all that is waited for: of two within each other, each would see what the other has left of a standstill.
  const awake = new AwakeClock(monotonic, lookMs);
  const uptime = () => awake.now();
  const isTrusted = trustList(options.trustedProxies);
  let latest: Directory | null = null;
  const { promise: routed, resolve: haveRoutes } = Promise.withResolvers<void>();
  let isStopping = false;
  let isFollowing = false;
  let stopped: Promise<void> | null = null;
  let looks: NodeJS.Timeout | null = null;

  const turnEnd = new TurnEnd();
  const pool = new EnginePool(limits, turnEnd, uptime);
  const metrics = new Metrics();
  const routesHere = createVersionGate(clock, routesWaitMs);
  const routesEverywhere = createVersionGate(clock, routesWaitMs);
  const admission = createAdmission({
    limits: {
      waitMs: limits.waitMs,
      slotWaitMs: limits.slotWaitMs,
      quietMs: limits.firstTokenMs,
      queueMax: limits.queueMax,
      queueBytes: limits.queueBytes,
    },
    isShared: options.shared !== undefined,
    ...{ now, stoodStillMs: () => awake.stoodStillMs() },
    onLoad: (isUrgent) => link.loadChanged(isUrgent),
  });
  const peers =
    options.shared === undefined
      ? null
      : new Peers({
          ...{ ...options.shared, admission, turnEnd, log, now },
          figures: async () => metrics.families(await readings(), true),
          routesReached: routesHere.reached,
          onSpentElsewhere: (scopeId, nanoUsd) => scopes.spentElsewhere(scopeId, nanoUsd),
          onRoutesEverywhere: routesEverywhere.reach,
        });
  const link = createLink({
    ...options,
    snapshotMaxAgeMs: limits.snapshotMaxAgeMs,
    silenceMs: linkSilenceMs,
    load: () => admission.load(),
    onSnapshot(snapshot) {
      latest = indexSnapshot(snapshot);
      admission.setModels(snapshot.models, snapshot);
      metrics.setModels(snapshot.models);
      routesHere.reach(snapshot.version);
      if (peers === null) routesEverywhere.reach(snapshot.version);
      else peers.routesChanged(snapshot.version);
      haveRoutes();
    },
  });
  const scopes = createScopeBook({
    now,
    ask: (jwt) => askAboutScope(options.linkSocket, jwt),
    onSpent: (scopeId, nanoUsd) => peers?.spent(scopeId, nanoUsd),
  });
  const authenticator = createAuthenticator(scopes);
  const webhooks = createWebhooks({
    targets: targetsOf(options.webhookTargets),
    clock,
    log,
    onOpen: (job) => reception.open(job),
    onEnd: (job) => reception.close(job),
  });
  const { continuesStreams } = options;
  const parts = { admission, pool, webhooks, authenticator };
  const inference = { ...limits, ...parts, now, uptime, directory, continuesStreams };

  const readings = async () => ({
    load: admission.load(),
    routesAgeMs: link.ageMs,
    spool: (await options.readSpool?.()) ?? nothingSpooled,
    residentBytes: process.memoryUsage.rss(),
  });
  const { linkSocket, apiSocket, corsOrigins } = options;
  const routesReached = routesEverywhere.reached;
  const reception = new Reception({
    ...{ isTls: options.tls !== null, isTrusted, corsOrigins, totalMs: limits.totalMs },
    ...{ clock, log, now, uptime },
    serve: createService({
      inference,
      metricsPage: { metrics, authenticator, directory, linkSocket, isTrusted, peers, readings },
      control: { apiSocket, silenceMs: apiSilenceMs, routesReached },
      isReady: () => latest !== null && link.isFresh && !isStopping,
    }),
    onRecord(record) {
      if (!isProbe(record)) metrics.note(record);
      options.onRecord?.(record);
    },
  });
  const server = new HttpServer({
    ...{ tls: options.tls, limits: { ...limits, idleMs }, turnEnd, now },
    onRequest: (request, response) => reception.receive(request, response),
    onRoom: options.shared?.onRoom,
  });

  function directory(): Directory {
    if (latest !== null && link.isFresh) return latest;
    throw new HttpError(
      "control_away",
      latest === null
        ? "Berth is starting and has no routes yet. Try again in a moment."
        : "The gateway has no current routes: the control process has not answered for too long. Try again in a moment.",
      { retryAfterS },
    );
  }

  async function stop(hasSuccessor: boolean): Promise<void> {
    isStopping = true;
    const endsAtMs = clock.now() + limits.drainMs;
    const leftMs = () => Math.max(0, endsAtMs - clock.now());
    reception.keepNoConnections();
    const closed = server.close();
    // With a successor, connections that wait for a request are kept for now: it may be on its way.
    if (!hasSuccessor) server.closeIdle();
    await reception.quiet(leftMs());
    if (hasSuccessor) {
      await clock.sleep(lingerMs);
      server.closeIdle();
      await reception.quiet(leftMs());
    }
    reception.cutAll(
      new HttpError("shutting_down", "Berth is stopping and could not wait any longer.", { retryAfterS }),
    );
    await reception.quiet(farewellMs);
    server.destroy();
    await closed;
    // What other processes have in lines here goes on until they are done too.
    while (peers?.isIdle === false && leftMs() > 0) await clock.sleep(peersPollMs);
    peers?.close();
    if (looks !== null) clearInterval(looks);
    pool.destroy();
    await link.stop();
  }

  function follow(): void {
    if (isFollowing) return;
    isFollowing = true;
    link.start();
  }

  return {
    port: server,
    routed,
    follow,
    settled: peers?.settled ?? Promise.resolve(),
    openToPeers: async () => peers?.open(),
    enter: (view) => peers?.enter(view),
    async start() {
      const { listenFd, port, host } = options;
      const bound = await server.listen(listenFd === undefined ? { port, host } : { fd: listenFd }, backlog);
      looks ??= setInterval(() => reception.cutOverdue(), lookMs).unref();
      follow();
      return { host: bound.address, port: bound.port };
    },
    stop(hasSuccessor = false) {
      stopped ??= stop(hasSuccessor);
      return stopped;
    },
    load() {
      const loads = Object.values(admission.load());
      return {
        running: loads.reduce((sum, load) => sum + load.running, 0),
        queued: loads.reduce((sum, load) => sum + load.queued, 0),
      };
    },
  };
}

function targetsOf(list: readonly string[]): WebhookTargets {
  const targets = readTargets(list);
  if (targets === null) throw new Error("a target of webhooks is neither a host nor an address");
  return targets;
}
