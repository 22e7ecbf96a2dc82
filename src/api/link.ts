/**
 * Control's side of the link to the gateways, on an internal socket of its own: routes go down as an endless NDJSON stream,
 * load reports come up. A stream begins with a whole picture; each further line leads from the picture before it to the
 * newest, so that nothing is queued: a reader that is slow gets one line when it is ready again, and one that stays stuck
 * is cut. A gateway is there as long as it has a
 * stream; its reports count only then. Records of usage come up too: they are answered when they are stored, and count
 * whoever brings them. Must not be reachable from outside.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { z } from "zod";
import { changesBetween } from "../core/route-changes.ts";
import type { RecordBatch, RoutingSnapshot } from "../core/routing.ts";
import { expositionType } from "../schema/exposition.ts";
import { loadReport, recordBatch, scopeQuestion } from "../schema/routing.ts";
import type { LinkDeps } from "./deps.ts";

/** An empty line this often tells a gateway that control is there. */
const heartbeatMs = 2_000;
const defaultStuckMs = 20_000;
/** Streams at once; a process of the gateway needs one, and a moment of two when it reconnects. */
const maxStreams = 128;
/** Largest message of a gateway. */
const maxMessageBytes = 16 * 1024 * 1024;

/** An HTTP server that is not listening yet: `GET /routes?gateway=<id>` and `/metrics`, `POST /load`, `/records` and `/scopes`. */
export function createLink(deps: LinkDeps): Server {
  const streams = new Map<ServerResponse, string>();
  const server = createServer((request, response) => {
    answer(deps, streams, request, response).catch((error: unknown) => {
      if (request.destroyed && !request.complete) return; // the peer left while it was sending
      deps.log("error", "the link to a gateway failed", { error: String(error) });
      response.destroy();
    });
  });
  // Streams are endless: only receiving a request has a time limit (Node's own).
  server.keepAliveTimeout = 60_000;
  return server;
}

async function answer(
  deps: LinkDeps,
  streams: Map<ServerResponse, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = URL.parse(request.url ?? "", "http://control");
  if (request.method === "GET" && url?.pathname === "/routes") {
    const gatewayId = url.searchParams.get("gateway") ?? "";
    if (!/^[\x21-\x7e]{1,128}$/.test(gatewayId)) return end(response, 400);
    if (streams.size >= maxStreams) return end(response, 503);
    return streamRoutes(deps, streams, gatewayId, response);
  }
  if (request.method === "GET" && url?.pathname === "/metrics") {
    response.writeHead(200, { "content-type": expositionType }).end(await deps.metrics());
    return;
  }
  if (request.method === "POST" && url?.pathname === "/load") {
    const report = await readMessage(request, loadReport);
    if (report === null) {
      deps.log("warn", "a gateway sent a load report that cannot be read", {});
      return end(response, 400);
    }
    // Of a gateway that has gone nothing may be believed any more; one that is coming back reports again in full.
    if (![...streams.values()].includes(report.gatewayId)) return end(response, 409);
    deps.onLoad(report);
    return end(response, 204);
  }
  if (request.method === "POST" && url?.pathname === "/scopes") {
    const question = await readMessage(request, scopeQuestion);
    if (question === null) return end(response, 400);
    const verdict = await deps.judgeScope(question);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(verdict));
    return;
  }
  if (request.method === "POST" && url?.pathname === "/records") {
    const batch = await readMessage(request, recordBatch);
    if (batch === null) {
      deps.log("error", "a gateway sent records of usage that cannot be read", {});
      return end(response, 400);
    }
    return end(response, (await store(deps, batch)) ? 204 : 503);
  }
  end(response, 404);
}

/** Ends by itself when the gateway leaves. */
function streamRoutes(
  deps: LinkDeps,
  streams: Map<ServerResponse, string>,
  gatewayId: string,
  response: ServerResponse,
): void {
  streams.set(response, gatewayId);
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  let sent: RoutingSnapshot | null = null;
  let isDirty = false;
  let isScheduled = false;

  /** Writes what has changed, unless the reader is still busy with the line before: then once it is ready. */
  const send = () => {
    isScheduled = false;
    if (response.destroyed) return;
    if (response.writableNeedDrain) {
      isDirty = true;
      return;
    }
    isDirty = false;
    const newest = deps.snapshot();
    response.write(`${JSON.stringify(sent === null ? newest : changesBetween(sent, newest))}\n`);
    sent = newest;
  };
  /** Many changes in one turn of the loop are one line. */
  const schedule = () => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(send);
  };
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write("\n");
  }, heartbeatMs);

  const unsubscribe = deps.onSnapshot(schedule);
  response.on("drain", () => {
    if (isDirty) schedule();
  });
  // Without activity at its socket: a reader that takes nothing.
  response.setTimeout(deps.stuckMs ?? defaultStuckMs, () => response.destroy());
  response.on("error", () => undefined); // a reset is followed by "close", which cleans up
  response.on("close", () => {
    clearInterval(heartbeat);
    unsubscribe();
    streams.delete(response);
    if (![...streams.values()].includes(gatewayId)) deps.onGatewayGone(gatewayId);
  });
  send();
}

/** False when the store cannot take them now: the gateway keeps them and sends them again. */
async function store(deps: LinkDeps, batch: RecordBatch): Promise<boolean> {
  try {
    await deps.onRecords(batch);
    return true;
  } catch (error) {
    deps.log("error", "records of usage could not be stored; the gateway keeps them", {
      error: String(error),
    });
    return false;
  }
}

/** Null when it is too large, no JSON or not what is expected. */
async function readMessage<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > maxMessageBytes) return null;
    chunks.push(chunk as Buffer);
  }
  try {
    const outcome = schema.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    return outcome.success ? outcome.data : null;
  } catch {
    return null; // no JSON: the caller says so
  }
}

function end(response: ServerResponse, status: number): void {
  response.writeHead(status).end();
}
