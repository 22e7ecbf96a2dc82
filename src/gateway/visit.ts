/**
 * One request on the public port from its first line to its end: its id, where it came from, its record, and the signal
 * that ends everything done for it. Owns noticing that a client has left; must not answer.
 */
import type { IncomingHttpHeaders } from "node:http";
import { readTraceContext, type TraceContext } from "../core/trace-context.ts";
import { Cancel, type CancelSignal } from "./cancel.ts";
import { type ClientOrigin, originOf, type Trust } from "./client-address.ts";
import type { HttpRequest } from "./http/request.ts";
import { HttpResponse, type Wire } from "./http/response.ts";
import { clientLeftStatus, RequestRecord } from "./record.ts";
import { newRequestId } from "./request-id.ts";
import { pathOf } from "./routes.ts";

export type Visit = {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly requestId: string;
  /** What engines are told of the trace it belongs to; null for none. */
  readonly trace: TraceContext | null;
  readonly origin: ClientOrigin;
  readonly record: RequestRecord;
  /** When it has taken too long, in `uptime` milliseconds: whoever looks after all visits cuts it then. */
  dueAtMs: number;
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
  request: HttpRequest,
  response: HttpResponse,
  options: {
    readonly isTls: boolean;
    readonly isTrusted: Trust;
    now(): number;
    onEnd(visit: Visit): void;
  },
): Visit {
  const { headers } = request;
  const given = headers["x-request-id"];
  const requestId = typeof given === "string" && saneRequestId.test(given) ? given : newRequestId();
  const origin = originOf(request.remoteAddress, headers, options.isTls, options.isTrusted);
  const trace = traceOf(headers);
  const cancel = new Cancel();
  const record = new RequestRecord({
    requestId,
    traceparent: trace?.traceparent ?? null,
    method: request.method,
    path: pathOf(request.url),
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
    dueAtMs: Number.POSITIVE_INFINITY,
    signal: cancel,
    expectsContinue: request.expectsContinue,
    cut: (reason) => cancel.abort(reason),
  };
  response.setHeader("x-request-id", requestId);
  response.onClose = () => {
    record.durationMs = options.now() - record.startedAtMs;
    record.isClientGone = !response.isFinished;
    record.status = response.headersSent ? response.status : clientLeftStatus;
    if (record.isClientGone) cancel.abort(new ClientLeft("the client has left"));
    options.onEnd(visit);
  };
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
  const record = new RequestRecord({
    ...{ requestId, traceparent, method, path, clientAddress },
    startedAtMs: nowMs,
  });
  return {
    ...asked,
    response: new HttpResponse(nowhere, asked.request),
    record: Object.assign(record, { account, tokenId, scopeId, kind, status: 200 }),
    signal: abort.signal,
    cut: (reason) => abort.abort(reason),
  };
}

/** Where nobody listens: a detached visit's answer is never written. */
const nowhere: Wire = {
  write: () => true,
  writeLarge: () => true,
  destroy: () => undefined,
  ...{ dateLine: "", keptLines: "" },
};

function traceOf({ traceparent, tracestate }: IncomingHttpHeaders): TraceContext | null {
  if (typeof traceparent !== "string") return null;
  return readTraceContext(traceparent, Array.isArray(tracestate) ? tracestate.join() : tracestate);
}
