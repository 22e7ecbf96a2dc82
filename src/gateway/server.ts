/**
 * The gateway: the public port and everything behind it, put together. Owns listening, sending each request to the
 * right neighbour, and stopping; must not decide what a neighbour decides.
 */
import type { GatewayView } from "../core/gateway-view.ts";
import { readTargets, type WebhookTargets } from "../core/webhook.ts";
import { deepError, HttpError, openAiError } from "../schema/errors.ts";
import { reasonUnavailable } from "../schema/unavailable.ts";
import { createAdmission } from "./admission.ts";
import { sendError, sendJson } from "./answer.ts";
import { createAuthenticator } from "./auth.ts";
import { AwakeClock } from "./awake-clock.ts";
import { trustList } from "./client-address.ts";
import { proxyToControl } from "./control-proxy.ts";
import { answerCors } from "./cors.ts";
import type { ErrorBody } from "./faces/face.ts";
import { noStoredResponse } from "./faces/responses.ts";
import type { HttpRequest } from "./http/request.ts";
import type { HttpResponse } from "./http/response.ts";
import { HttpServer } from "./http/server.ts";
import { serveInference } from "./inference.ts";
import { createLink } from "./link.ts";
import { lookEveryMs } from "./look-every.ts";
import { Metrics, type SpoolReading } from "./metrics.ts";
import { sendMetrics } from "./metrics-page.ts";
import { type Directory, indexSnapshot } from "./models.ts";
import { type ModelsRoute, sendModels } from "./models-page.ts";
import type { GatewayOptions } from "./options.ts";
import { Peers } from "./peers.ts";
import type { RequestRecord } from "./record.ts";
import { tooLong } from "./refusals.ts";
import { findRoute, type Route } from "./routes.ts";
import { askAboutScope } from "./scope-question.ts";
import { createScopeBook } from "./scopes.ts";
import { TurnClock } from "./turn-clock.ts";
import { TurnEnd } from "./turn-end.ts";
import { EnginePool } from "./upstream.ts";
import { createVersionGate } from "./version-gate.ts";
import { ClientLeft, openVisit, type Visit } from "./visit.ts";
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
  const awake = new AwakeClock(() => performance.now(), lookEveryMs(limits.totalMs));
  const { now: uptime } = new TurnClock(() => awake.now());
  const isTrusted = trustList(options.trustedProxies);
  const visits = new Set<Visit>();
  let latest: Directory | null = null;
  const { promise: routed, resolve: haveRoutes } = Promise.withResolvers<void>();
  let isStopping = false;
  let isFollowing = false;
  let stopped: Promise<void> | null = null;
  let onQuiet: (() => void) | null = null;
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
    onOpen: (job) => visits.add(job),
    onEnd: closeVisit,
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
  const { linkSocket } = options;
  const metricsPage = { metrics, authenticator, directory, linkSocket, isTrusted, peers, readings };

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

  /** Throws, or rejects, with what the client is to be told. */
  function serve(visit: Visit, route: Route): void | Promise<void> {
    const { response } = visit;
    switch (route.kind) {
      case "healthz":
        return sendJson(response, 200, { status: "ok" });
      case "readyz": {
        const isReady = latest !== null && link.isFresh && !isStopping;
        return sendJson(response, isReady ? 200 : 503, { status: isReady ? "ready" : "not ready" });
      }
      case "metrics":
        if (!allows(visit, ["GET", "HEAD"], route)) return;
        return sendMetrics(metricsPage, visit);
      case "inference":
        if (!allows(visit, ["POST"], route)) return;
        return serveInference(inference, visit, route);
      case "models":
      case "model":
        if (!allows(visit, ["GET", "HEAD"], route)) return;
        return serveModels(visit, route);
      case "response":
        return refuseStored(visit);
      case "nothing": {
        const reason = reasonUnavailable(visit.record.method, visit.record.path);
        if (reason !== null) throw new HttpError("not_implemented", reason);
        throw new HttpError("not_found", "There is nothing at this path. GET /docs shows what there is.");
      }
      case "control":
        return proxyToControl(visit, route.target, {
          apiSocket: options.apiSocket,
          silenceMs: apiSilenceMs,
          routesReached: routesEverywhere.reached,
        });
    }
  }

  async function serveModels(visit: Visit, route: ModelsRoute): Promise<void> {
    sendModels(visit.response, await authenticator.find(visit, directory()), directory(), route);
  }

  async function refuseStored(visit: Visit): Promise<never> {
    await authenticator.require(visit, directory());
    throw noStoredResponse();
  }

  /** Serves and, whatever goes wrong, answers. Never throws. */
  function handle(request: HttpRequest, response: HttpResponse): void {
    const visit = openVisit(request, response, {
      isTls: options.tls !== null,
      isTrusted,
      now,
      onEnd: () => finish(),
    });
    visits.add(visit);
    // The client's end and ours come in either order; what was used is known only after both.
    let ends = 0;
    const finish = () => {
      ends += 1;
      if (ends === 2) closeVisit(visit);
    };
    if (isStopping) response.keepsAlive = false;
    const cors = answerCors(options.corsOrigins, request.method, request.headers);
    for (const [name, value] of cors.headers) response.setHeader(name, value);
    if (cors.isPreflight) {
      response.send(204, []);
      finish();
      return;
    }
    const route = findRoute(request.url);
    const fail = (error: unknown) => {
      const isClientGone = error instanceof ClientLeft || visit.signal.reason instanceof ClientLeft;
      if (!isClientGone) answerError(visit, route, error);
      finish();
    };
    try {
      const served = serve(visit, route);
      if (served === undefined) finish();
      else void served.then(finish, fail);
    } catch (error) {
      fail(error);
    }
  }

  function answerError(visit: Visit, route: Route, error: unknown): void {
    const { requestId, record, response } = visit;
    if (!(error instanceof HttpError)) {
      log("error", "a request failed on a defect", {
        requestId,
        error: String((error as Error)?.stack ?? error),
      });
    }
    const known =
      error instanceof HttpError
        ? error
        : new HttpError(
            "internal",
            `Something went wrong inside Berth. Its log has the details under ${requestId}.`,
          );
    record.error = known.code;
    if (response.headersSent) response.destroy();
    else sendError(response, known, errorBodyOf(route));
  }

  function closeVisit(visit: Visit): void {
    visits.delete(visit);
    if (visits.size === 0) onQuiet?.();
    logRecord(visit.record);
    if (!isProbe(visit.record)) metrics.note(visit.record);
    options.onRecord?.(visit.record);
  }

  function logRecord(record: RequestRecord): void {
    const { method, path, status, durationMs } = record;
    const fields = record.error === null ? { request: record } : { request: record, error: record.error };
    log(isProbe(record) ? "debug" : "info", `${method} ${path} ${status} ${durationMs} ms`, fields);
  }

  const server = new HttpServer({
    ...{ tls: options.tls, limits: { ...limits, idleMs }, turnEnd, now },
    ...{ onRequest: handle, onRoom: options.shared?.onRoom },
  });

  /** One look at all visits is cheaper than a timer for each. */
  function cutOverdue(): void {
    const uptimeMs = uptime();
    for (const visit of visits) if (visit.dueAtMs <= uptimeMs) visit.cut(tooLong(limits.totalMs));
  }

  /** Waits until nothing is under way, at most `ms`. */
  async function quiet(ms: number): Promise<void> {
    if (visits.size === 0) return;
    const waiting = new AbortController();
    onQuiet = () => waiting.abort();
    await clock.sleep(ms, waiting.signal).catch(() => undefined); // aborted: it is quiet
  }

  async function stop(hasSuccessor: boolean): Promise<void> {
    isStopping = true;
    const endsAtMs = clock.now() + limits.drainMs;
    const leftMs = () => Math.max(0, endsAtMs - clock.now());
    for (const { response } of visits) if (!response.headersSent) response.keepsAlive = false;
    const closed = server.close();
    // With a successor, connections that wait for a request are kept for now: it may be on its way.
    if (!hasSuccessor) server.closeIdle();
    await quiet(leftMs());
    if (hasSuccessor) {
      await clock.sleep(lingerMs);
      server.closeIdle();
      await quiet(leftMs());
    }
    for (const visit of visits) {
      visit.cut(
        new HttpError("shutting_down", "Berth is stopping and could not wait any longer.", { retryAfterS }),
      );
    }
    await quiet(farewellMs);
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
      looks ??= setInterval(cutOverdue, lookEveryMs(limits.totalMs)).unref();
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

/** What watches Berth is not what it serves. */
function isProbe({ path }: RequestRecord): boolean {
  return path === "/healthz" || path === "/readyz" || path === "/metrics";
}

function errorBodyOf(route: Route): ErrorBody {
  if (route.kind === "inference" || route.kind === "nothing") return route.face.errorBody;
  return route.kind === "control" ? (error) => deepError(error.message) : openAiError;
}

/** True when the method is one of these; else answers 405, or what is allowed when that was the question. */
function allows({ request, response }: Visit, methods: readonly string[], route: Route): boolean {
  if (methods.includes(request.method)) return true;
  response.setHeader("allow", [...methods, "OPTIONS"].join(", "));
  if (request.method === "OPTIONS") response.send(204, []);
  else {
    const text = `This path takes ${methods.join(" and ")} only.`;
    sendError(response, new HttpError("method_not_allowed", text), errorBodyOf(route));
  }
  return false;
}
