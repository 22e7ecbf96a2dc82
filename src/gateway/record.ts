/**
 * What is known of one request, filled in as it goes and handed over once when it is over: to the access log, and as
 * usage to control (usage-record.ts). Never holds bodies, tokens or queries.
 */
import type { UsageKind } from "../core/usage.ts";

export type RequestRecord = {
  readonly requestId: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly clientAddress: string;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  durationMs: number;
  /** What the client was sent, or 499 when it left before that. */
  status: number;
  /** Null where no valid token was needed or sent. */
  account: string | null;
  tokenId: string | null;
  /** Id of the scoped JWT that called, null for a token itself. */
  scopeId: string | null;
  /** Full name and id of the model; null before it is found. */
  model: string | null;
  deploymentId: string | null;
  /** The instance that served, or failed, last. */
  instanceId: string | null;
  /** Times its stream broke off and went on at another instance. */
  continuations: number;
  /** How its use is counted; null where no model was asked. */
  kind: UsageKind | null;
  /** Tokens as the engine counted them, 0 where it said nothing. */
  inputTokens: number;
  outputTokens: number;
  /** Of the input, those that came from a cache. */
  cachedTokens: number;
  /** Billionths of a US dollar. */
  costNanoUsd: number;
  /** The answer was asked for piece by piece. */
  isStream: boolean;
  /** Times it was offered to an instance again, continuations among them. */
  retries: number;
  /** Milliseconds spent waiting for a slot. */
  waitedMs: number;
  /** Milliseconds from the start to the first byte of the engine's answer; null when none came. */
  firstByteMs: number | null;
  /** The client's trace context (W3C), null when it sent none. */
  readonly traceparent: string | null;
  /** Code of the error that ended it, null when none did. */
  error: string | null;
  /** The client closed the connection before the exchange was over. */
  isClientGone: boolean;
};

/** Status of a request whose client left before the answer began; only logs ever see it. */
export const clientLeftStatus = 499;

export function openRecord(
  known: Pick<
    RequestRecord,
    "requestId" | "method" | "path" | "clientAddress" | "startedAtMs" | "traceparent"
  >,
): RequestRecord {
  return {
    ...known,
    durationMs: 0,
    status: 0,
    account: null,
    tokenId: null,
    scopeId: null,
    model: null,
    deploymentId: null,
    instanceId: null,
    continuations: 0,
    kind: null,
    inputTokens: 0,
    outputTokens: 0,
    cachedTokens: 0,
    costNanoUsd: 0,
    isStream: false,
    retries: 0,
    waitedMs: 0,
    firstByteMs: null,
    error: null,
    isClientGone: false,
  };
}
