/**
 * One request on the public port from its first line to its end: its id, where it came from, its record, and the signal
 * that ends everything done for it. Owns noticing that a client has left; must not answer.
 */
import { randomUUID } from "node:crypto";
import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from "node:http";
import { readTraceContext, type TraceContext } from "../core/trace-context.ts";
import { Cancel, type CancelSignal } from "./cancel.ts";
import { type ClientOrigin, originOf, type Trust } from "./client-address.ts";
import { clientLeftStatus, openRecord, type RequestRecord } from "./record.ts";
import { pathOf } from "./routes.ts";

export type Visit = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** What engines are told of the trace it belongs to; null for none. */
  readonly trace: TraceContext | null;
  readonly origin: ClientOrigin;
  readonly record: RequestRecord;
  /** Aborted when the client has left (with ClientLeft) or the gateway cuts it (with an HttpError). */
  readonly signal: CancelSignal;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  cut(reason: Error): void;
};

/** One that goes on without its client, and waits for other things than engines. */
export type DetachedVisit = Visit & { readonly signal: AbortSignal };

/** Reason of an abort: there is nobody to answer any more. */
export class ClientLeft extends Error {}

const saneRequestId = /^[A-Za-z0-9._:-]{1,128}$/;

export function openVisit(
  request: IncomingMessage,
  response: ServerResponse,
  options: {
    readonly expectsContinue: boolean;
    readonly isTls: boolean;
    readonly isTrusted: Trust;
    /** Milliseconds in which a client must take something of a complete answer. */
    readonly silenceMs: number;
    now(): number;
    onEnd(visit: Visit): void;
  },
): Visit {
  const { headers, socket } = request;
  const given = headers["x-request-id"];
  const requestId = typeof given === "string" && saneRequestId.test(given) ? given : randomUUID();
  const origin = originOf(socket.remoteAddress ?? "", headers, options.isTls, options.isTrusted);
  const trace = traceOf(headers);
  const cancel = new Cancel();
  const record = openRecord({
    requestId,
    traceparent: trace?.traceparent ?? null,
    method: request.method ?? "",
    path: pathOf(request.url ?? ""),
    clientAddress: origin.address,
    startedAtMs: options.now(),
  });
  const visit: Visit = {
    request,
    response,
    requestId,
    trace,
    origin,
    record,
    signal: cancel,
    expectsContinue: options.expectsContinue,
    cut: (reason) => cancel.abort(reason),
  };
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    socket.off("close", end);
    record.durationMs = options.now() - record.startedAtMs;
    record.isClientGone = !response.writableFinished;
    record.status = response.headersSent ? response.statusCode : clientLeftStatus;
    if (record.isClientGone) cancel.abort(new ClientLeft("the client has left"));
    options.onEnd(visit);
  };
  response.setHeader("x-request-id", requestId);
  // A pipelined response that has not had its turn is not told of its connection's end: the socket is.
  socket.setMaxListeners(0).once("close", end);
  response.once("close", end);
  // Nothing waits for a complete answer but its client: one that never reads it must not keep it in memory for ever.
  response.once("prefinish", () => response.setTimeout(options.silenceMs));
  // Writing to a client that has just left; `close` follows and is what counts.
  response.on("error", () => undefined);
  return visit;
}

/**
 * The same request going on without its client, who has an answer already: a record of its own, and no connection whose
 * end would end it. Whoever opens it closes it.
 */
export function detachVisit(asked: Visit, nowMs: number): DetachedVisit {
  const { requestId, traceparent, method, path, clientAddress, account, tokenId, scopeId, kind } =
    asked.record;
  const abort = new AbortController();
  const record = openRecord({ requestId, traceparent, method, path, clientAddress, startedAtMs: nowMs });
  return {
    ...asked,
    // Never written to: nothing is sent to anyone.
    response: new ServerResponse(asked.request),
    record: Object.assign(record, { account, tokenId, scopeId, kind, status: 200 }),
    signal: abort.signal,
    cut: (reason) => abort.abort(reason),
  };
}

function traceOf({ traceparent, tracestate }: IncomingHttpHeaders): TraceContext | null {
  if (typeof traceparent !== "string") return null;
  return readTraceContext(traceparent, Array.isArray(tracestate) ? tracestate.join() : tracestate);
}
