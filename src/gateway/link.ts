/**
 * The gateway's side of its link to control: follows the routes, reconnects for ever, reports load. Owns
 * when the last snapshot has become too old to go by; must not interpret it.
 */
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { applyChanges } from "../core/route-changes.ts";
import type { LoadReport, ModelLoad, RoutingSnapshot } from "../core/routing.ts";
import { routeChanges, routingSnapshot } from "../schema/routing.ts";
import { postToControl } from "./link-post.ts";
import type { Clock, Log } from "./options.ts";

export type LinkOptions = {
  readonly gatewayId: string;
  /** Unix socket of control's internal protocol. */
  readonly linkSocket: string;
  /** Age from which the last snapshot does not count any more, milliseconds; it ages while control is away. */
  readonly snapshotMaxAgeMs: number;
  /** Time without a byte after which the connection counts as dead, milliseconds. */
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  onSnapshot(snapshot: RoutingSnapshot): void;
  load(): Record<string, ModelLoad>;
};

export type Link = {
  /** A snapshot has come and control has been heard of recently enough. */
  readonly isFresh: boolean;
  /** Milliseconds since control was last heard of; null when no snapshot has come yet. */
  readonly ageMs: number | null;
  start(): void;
  /** The load has changed: report it, soon when it is urgent. */
  loadChanged(isUrgent: boolean): void;
  /** Sends a last report when control is there, then ends. */
  stop(): Promise<void>;
};

const firstRetryMs = 50;
const maxRetryMs = 1000;
/** Urgent changes that come together are sent together. */
const coalesceMs = 20;
/** Least time between two reports: instances that go idle and busy many times a second are told of a few times. */
const spacingMs = 100;
const reportEveryMs = 1000;
const reportTimeoutMs = 5000;
/** A snapshot of 100,000 models with two instances each is about 80 MB. */
const maxLineChars = 256 * 1024 * 1024;

export function createLink(options: LinkOptions): Link {
  const { clock, log } = options;
  const stopping = new AbortController();
  let heardAtMs: number | null = null;
  let following: Promise<void> | null = null;
  const reporter = createReporter(options);

  async function follow(): Promise<void> {
    let retryMs = firstRetryMs;
    let isAway = false;
    while (!stopping.signal.aborted) {
      let snapshot: RoutingSnapshot | null = null;
      try {
        await readRoutes(options, stopping.signal, (line) => {
          if (line === "") {
            heardAtMs = clock.now();
            return;
          }
          const isFirst = snapshot === null;
          snapshot = readRoutesLine(line, snapshot);
          heardAtMs = clock.now();
          options.onSnapshot(snapshot);
          log("debug", "new routes", { version: snapshot.version, models: snapshot.models.length });
          if (isAway) log("info", "control is back", {});
          // A control that has just come, or come back, knows nothing of this gateway's load.
          if (isFirst) reporter.changed(true);
          isAway = false;
          retryMs = firstRetryMs;
        });
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (!isAway && heardAtMs !== null) {
          log("warn", "control is away; inference goes on with the last routes", { error: String(error) });
          isAway = true;
        }
      }
      await clock.sleep(retryMs, stopping.signal).catch(() => undefined); // aborted: the loop's condition ends it
      retryMs = Math.min(maxRetryMs, retryMs * 2);
    }
  }

  return {
    get isFresh() {
      return heardAtMs !== null && clock.now() - heardAtMs <= options.snapshotMaxAgeMs;
    },
    get ageMs() {
      return heardAtMs === null ? null : clock.now() - heardAtMs;
    },
    start() {
      following = follow();
      reporter.start();
    },
    loadChanged: (isUrgent) => reporter.changed(isUrgent),
    async stop() {
      await reporter.stop();
      stopping.abort(new Error("the gateway stops"));
      await following;
    },
  };
}

/** @param before the picture that the line before it led to; null for the first line of a connection */
function readRoutesLine(line: string, before: RoutingSnapshot | null): RoutingSnapshot {
  const read: unknown = JSON.parse(line);
  const isWhole = typeof read !== "object" || read === null || !("since" in read);
  if (isWhole) return routingSnapshot.parse(read);
  const next = before && applyChanges(before, routeChanges.parse(read));
  if (next === null) throw new Error("control told changes of routes that this gateway does not have");
  return next;
}

/** Reads lines until the connection ends, which is always an error: control never ends it in peace. */
async function readRoutes(
  options: LinkOptions,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<never> {
  const request = httpRequest({
    socketPath: options.linkSocket,
    path: `/routes?gateway=${encodeURIComponent(options.gatewayId)}`,
    agent: false,
    signal,
  });
  const { silenceMs } = options;
  request.setTimeout(silenceMs, () => request.destroy(new Error(`control was silent for ${silenceMs} ms`)));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", resolve).on("error", reject).end();
  });
  try {
    if (response.statusCode !== 200) throw new Error(`control answered /routes with ${response.statusCode}`);
    response.setEncoding("utf8");
    let pending = "";
    for await (const text of response as AsyncIterable<string>) {
      pending += text;
      if (pending.length > maxLineChars) throw new Error("a snapshot is too large");
      if (!text.includes("\n")) continue;
      const lines = pending.split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    }
    throw new Error("control ended the stream of routes");
  } finally {
    request.destroy();
  }
}

type Reporter = {
  start(): void;
  changed(isUrgent: boolean): void;
  stop(): Promise<void>;
};

/** Sends the whole load, one report at a time, newest picture only; what could not be sent is sent again. */
function createReporter(options: LinkOptions): Reporter {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let isDirty = false;
  let isUrgent = false;
  let isStopped = false;
  let sentAtMs = 0;
  let soon: NodeJS.Timeout | null = null;
  let tick: NodeJS.Timeout | null = null;
  let sending: Promise<void> | null = null;

  async function send(): Promise<void> {
    isDirty = false;
    isUrgent = false;
    sentAtMs = options.clock.now();
    try {
      await postLoad(options, agent, { gatewayId: options.gatewayId, models: options.load() });
    } catch (error) {
      isDirty = true; // the next tick, or control's return, sends it again
      options.log("debug", "the load could not be reported", { error: String(error) });
    }
    sending = null;
    if (isUrgent) flushSoon();
  }

  function flush(): void {
    if (isDirty) sending ??= send();
  }

  /** A report that is on its way comes back here when it has arrived. */
  function flushSoon(): void {
    if (isStopped || sending !== null) return;
    if (soon !== null) return;
    const spacedMs = Math.min(spacingMs, sentAtMs + spacingMs - options.clock.now());
    soon = setTimeout(
      () => {
        soon = null;
        flush();
      },
      Math.max(coalesceMs, spacedMs),
    );
  }

  return {
    start() {
      tick = setInterval(flush, reportEveryMs);
    },
    changed(nowUrgent) {
      isDirty = true;
      isUrgent ||= nowUrgent;
      if (nowUrgent) flushSoon();
    },
    async stop() {
      isStopped = true;
      if (tick !== null) clearInterval(tick);
      if (soon !== null) clearTimeout(soon);
      await sending;
      flush();
      await sending;
      agent.destroy();
    },
  };
}

function postLoad({ linkSocket }: LinkOptions, agent: Agent, report: LoadReport): Promise<void> {
  const body = JSON.stringify(report);
  return postToControl({ linkSocket, agent, path: "/load", body, timeoutMs: reportTimeoutMs });
}
