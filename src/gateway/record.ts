/**
 * What is known of one request, filled in as it goes and handed over once when it is over: to the access log, and as
 * usage to control (usage-record.ts). Never holds bodies, tokens or queries.
 */
import type { UsageKind } from "../core/usage.ts";

/** How a request is known before anything is done for it. */
export type RequestStart = {
  readonly requestId: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly clientAddress: string;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** The client's trace context (W3C), null when it sent none. */
  readonly traceparent: string | null;
};

/** A class, so that room for all of it is made at once: one is made for each request. */
export class RequestRecord implements RequestStart {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly clientAddress: string;
  readonly startedAtMs: number;
  durationMs = 0;
  /** What the client was sent, or 499 when it left before that. */
  status = 0;
  /** Null where no valid token was needed or sent. */
  account: string | null = null;
  tokenId: string | null = null;
  /** Id of the scoped JWT that called, null for a token itself. */
  scopeId: string | null = null;
  /** Full name and id of the model; null before it is found. */
  model: string | null = null;
  deploymentId: string | null = null;
  /** The instance that served, or failed, last. */
  instanceId: string | null = null;
  /** Times its stream broke off and went on at another instance. */
  continuations = 0;
  /** How its use is counted; null where no model was asked. */
  kind: UsageKind | null = null;
  /** Tokens as the engine counted them, 0 where it said nothing. */
  inputTokens = 0;
  outputTokens = 0;
  /** Of the input, those that came from a cache. */
  cachedTokens = 0;
  /** Billionths of a US dollar. */
  costNanoUsd = 0;
  /** The answer was asked for piece by piece. */
  isStream = false;
  /** Times it was offered to an instance again, continuations among them. */
  retries = 0;
  /** Milliseconds spent waiting for a slot. */
  waitedMs = 0;
  /** Milliseconds from the start to the first byte of the engine's answer; null when none came. */
  firstByteMs: number | null = null;
  readonly traceparent: string | null;
  /** Code of the error that ended it, null when none did. */
  error: string | null = null;
  /** The client closed the connection before the exchange was over. */
  isClientGone = false;

  constructor({ requestId, method, path, clientAddress, startedAtMs, traceparent }: RequestStart) {
    this.requestId = requestId;
    this.method = method;
    this.path = path;
    this.clientAddress = clientAddress;
    this.startedAtMs = startedAtMs;
    this.traceparent = traceparent;
  }
}

/** Status of a request whose client left before the answer began; only logs ever see it. */
export const clientLeftStatus = 499;

/** What watches Berth is not what it serves. */
export function isProbe({ path }: RequestRecord): boolean {
  return path === "/healthz" || path === "/readyz" || path === "/metrics";
}
