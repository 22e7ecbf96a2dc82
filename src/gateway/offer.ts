/**
 * Offers one request to the instances of one model until it is answered: a slot, an engine, the answer passed on, and
 * where an engine fails another instance, from the start or from where the answer broke off. Owns what is tried again.
 * Must not know faces, accounts nor what bodies say.
 */
import type { RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import type { Admission, AdmissionAsk } from "./admission.ts";
import { type ContinuableStream, openContinuable } from "./continuation.ts";
import { exchange, type Outcome, type Sink } from "./exchange.ts";
import type { EnginePath, Reply } from "./faces/face.ts";
import type { Lease } from "./lease.ts";
import type { CallFailure, CallRequest, EnginePool } from "./upstream.ts";
import type { Visit } from "./visit.ts";

export type OfferDeps = {
  readonly admission: Admission;
  readonly pool: EnginePool;
  /** Time between comments to the client of a stream that waits for a slot, milliseconds; 0 for none. */
  readonly keepAliveMs: number;
  /** Streams whose engine fails go on at another one where that is faithful. */
  readonly continuesStreams: boolean;
  /** Longest time for all of a request, milliseconds. */
  readonly totalMs: number;
  /** Longest wait for an instance that takes it, milliseconds. */
  readonly waitMs: number;
  now(): number;
};

/** What is asked of an instance. */
export type EngineRequest = {
  readonly model: RouteModel;
  readonly enginePath: EnginePath;
  readonly body: Buffer;
  readonly isStream: boolean;
  /** What the engine knows of the account. */
  readonly scope: string;
  /** Its place in the line. */
  readonly turn: Pick<AdmissionAsk, "account" | "tokenId" | "tier" | "failFast">;
};

/** Times in a row that a request is offered without anything new before its failure is the client's answer. */
const maxTries = 3;
/** Times an engine may die with a request before the request is suspected: it must not take one engine after another. */
const maxDrops = 2;
/** An engine may need a moment to notice that a client has gone and answers 503 meanwhile: longer after each try. */
const busyPauseMs = 50;

/**
 * Rejects with the HttpError that is the client's answer.
 * @param openReply opens the answer; called again where a try has failed and the client has seen nothing of it
 */
export async function offer(
  deps: OfferDeps,
  visit: Visit,
  asked: EngineRequest,
  openReply: () => Reply,
): Promise<void> {
  const failedAt: string[] = [];
  let attempt = openAttempt(deps, asked, openReply());
  let drops = 0;
  /** Since when no instance takes it; null where the last one did. */
  let refusedSinceMs: number | null = null;
  for (let tries = 1; ; tries += 1) {
    const sentBefore = attempt.reply.sentBytes;
    const failed = await tryOnce(deps, visit, attempt, tries, failedAt);
    if (failed === null) return;
    if (failed.isDrop) drops += 1;
    if (!failedAt.includes(failed.instanceId)) failedAt.push(failed.instanceId);
    const isStarted = attempt.reply.sentBytes > 0;
    const leg = isStarted && failed.next !== "never" ? attempt.stream?.next() : null;
    if (leg?.kind === "end") return;
    // Where comments have gone out, the reply stays: it must not have a part of an event in it.
    const isClean = !attempt.reply.hasStarted || !failed.isDrop || attempt.stream !== null;
    const isPossible = isStarted ? leg?.kind === "ask" : failed.next === "again" && isClean;
    refusedSinceMs = failed.isRefused ? (refusedSinceMs ?? deps.now()) : null;
    // Nothing has been done with it: it waits for a successor, as one that comes when the death is known does.
    const mayWait =
      refusedSinceMs !== null && !asked.turn.failFast && deps.now() - refusedSinceMs < deps.waitMs;
    const isSpent = !mayWait && (tries === maxTries || drops === maxDrops);
    const mayTryAgain =
      isPossible && !isSpent && (mayWait || (await deps.admission.mayRetry(asked.model.deploymentId)));
    if (!mayTryAgain) throw failed.error;
    if (mayWait) tries -= 1;
    visit.record.retries += 1;
    if (leg?.kind === "ask") {
      visit.record.continuations += 1;
      attempt = { ...attempt, request: { ...asked, body: leg.body } };
      if (attempt.reply.sentBytes > sentBefore) tries = 0;
    } else attempt = openAttempt(deps, asked, attempt.reply.hasStarted ? attempt.reply : openReply());
  }
}

/** One answer in the making; `request` is what the next instance is asked for it. */
type Attempt = {
  readonly request: EngineRequest;
  readonly reply: Reply;
  readonly stream: ContinuableStream | null;
};

function openAttempt(deps: OfferDeps, request: EngineRequest, reply: Reply): Attempt {
  const isContinuable = deps.continuesStreams && request.isStream;
  return { request, reply, stream: isContinuable ? openContinuable(reply, request) : null };
}

type Failed = {
  readonly instanceId: string;
  readonly error: HttpError;
  /** An engine had the request when it went. */
  readonly isDrop: boolean;
  /** It took no connection: nothing of the request has reached it. */
  readonly isRefused: boolean;
  /** What may follow. again: also from the start; continue: only where it broke off. */
  readonly next: "again" | "continue" | "never";
};

/** Takes a slot, asks its instance, passes the answer on. Null when the client has its answer. */
async function tryOnce(
  deps: OfferDeps,
  visit: Visit,
  { request, reply, stream }: Attempt,
  tries: number,
  failedAt: readonly string[],
): Promise<Failed | null> {
  const { record, signal } = visit;
  const { model } = request;
  const askedAtMs = deps.now();
  const { turn } = request;
  const ask = {
    deploymentId: model.deploymentId,
    account: turn.account,
    tokenId: turn.tokenId,
    tier: turn.tier,
    failFast: turn.failFast,
    body: request.body,
    deadlineMs: record.startedAtMs + deps.totalMs,
    isReturning: failedAt.length > 0,
    avoid: failedAt,
  };
  const slot = deps.admission.acquire(ask, signal);
  const lease = slot instanceof Promise ? await keptAlive(deps, request, reply, slot) : slot;
  record.waitedMs += deps.now() - askedAtMs;
  record.instanceId = lease.instance.id;
  const sink: Sink = stream ?? reply;
  try {
    const options = {
      pool: deps.pool,
      request: requestFor(request, lease, visit),
      sink,
      takesBusy: tries === maxTries && reply.sentBytes === 0,
      record,
      now: deps.now,
    };
    return judge(request, reply, lease, await exchange(options, visit), tries);
  } finally {
    giveBack(lease, reply);
  }
}

/** While it waits, a stream's client may hear comments, so that nothing on the way takes the silence for an end. */
async function keptAlive(
  { keepAliveMs }: OfferDeps,
  { isStream }: EngineRequest,
  reply: Reply,
  waiting: Promise<Lease>,
): Promise<Lease> {
  if (!isStream || keepAliveMs === 0 || reply.sentBytes > 0) return await waiting;
  const timer = setInterval(() => reply.keepAlive(), keepAliveMs);
  try {
    return await waiting;
  } finally {
    clearInterval(timer);
  }
}

/** Gives the slot back and says what it was used for. */
function giveBack(lease: Lease, { usage }: Reply): void {
  if (usage !== null) lease.served(usage.inputTokens + usage.outputTokens);
  lease.release();
}

/** What an outcome means for the instance and for the request. */
function judge(
  { model }: EngineRequest,
  reply: Reply,
  lease: Lease,
  outcome: Outcome,
  tries: number,
): Failed | null {
  const instanceId = lease.instance.id;
  const failed = (error: HttpError, next: Failed["next"], how: "drop" | "refused" | null = null) => ({
    ...{ instanceId, error, next },
    ...{ isDrop: how === "drop", isRefused: how === "refused" },
  });
  switch (outcome.kind) {
    case "done":
      lease.succeeded();
      return null;
    case "busy":
      lease.pause(busyPauseMs * tries ** 2);
      return failed(engineFailed(model, "it was busy"), "again");
    case "locked":
      lease.failed(false);
      return failed(engineFailed(model, "it refused Berth's secret"), "never");
    case "unreadable":
      lease.failed(false);
      return failed(outcome.error, "never");
    case "failed": {
      const { kind } = outcome.failure;
      const error = explain(model, outcome.failure);
      if (kind === "stalled") {
        reply.cut();
        return failed(error, "never");
      }
      lease.failed(kind === "silent");
      if (kind === "refused") return failed(error, "again", "refused");
      // An engine that is silent or speaks nonsense may have done all the work: from the start it would be done twice.
      return failed(error, kind === "dropped" || kind === "broken" ? "again" : "continue", "drop");
    }
  }
}

/** All an engine is told; of the client's headers only the trace context goes on. */
function requestFor(
  { enginePath, body, isStream, scope }: EngineRequest,
  lease: Lease,
  { requestId, trace }: Visit,
): CallRequest {
  const { endpoint, secret } = lease.instance;
  const host = endpoint.kind === "unix" ? "localhost" : `${endpoint.host}:${endpoint.port}`;
  const head = `POST ${enginePath} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${secret}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nx-request-id: ${requestId}\r\nx-berth-scope: ${scope}\r\n${traceLines(trace)}\r\n`;
  return { endpoint, head, body, isStream };
}

function traceLines(trace: Visit["trace"]): string {
  if (trace === null) return "";
  const { traceparent, tracestate } = trace;
  return `traceparent: ${traceparent}\r\n${tracestate === "" ? "" : `tracestate: ${tracestate}\r\n`}`;
}

function explain(model: RouteModel, { kind, detail }: CallFailure): HttpError {
  switch (kind) {
    case "refused":
      return new HttpError(
        "engine_failed",
        `No instance of ${model.name} took the request. Try again in a moment.`,
        {
          retryAfterS: 2,
        },
      );
    case "silent":
      return new HttpError("timeout", `The engine of ${model.name} did not answer in time: ${detail}.`);
    case "stalled":
      return new HttpError("timeout", `The answer was not read in time: ${detail}.`);
    case "dropped":
    case "broken":
      return engineFailed(model, "it broke off");
    case "nonsense":
      return engineFailed(model, detail);
  }
}

function engineFailed(model: RouteModel, why: string): HttpError {
  return new HttpError(
    "engine_failed",
    `The engine of ${model.name} failed during this request: ${why}. Try again.`,
  );
}
