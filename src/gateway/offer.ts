/**
 * Offers one request to the instances of one model until one has answered: a slot, an engine, the answer passed on. Owns
 * what is tried again. Must not know faces, accounts nor what bodies say.
 */
import type { RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import type { Admission, Lease } from "./admission.ts";
import type { EnginePath, Reply } from "./faces/face.ts";
import type { RequestRecord } from "./record.ts";
import type { CallFailure, CallRequest, EnginePool } from "./upstream.ts";
import type { Visit } from "./visit.ts";

export type OfferDeps = {
  readonly admission: Admission;
  readonly pool: EnginePool;
  now(): number;
};

/** What is asked of an instance. */
export type EngineRequest = {
  readonly model: RouteModel;
  readonly enginePath: EnginePath;
  readonly body: Buffer;
  /** What the engine knows of the account. */
  readonly scope: string;
};

/** Times a request is offered to an instance before its failure is the client's answer. */
const maxTries = 3;
/** Times an engine may die with a request before the request is suspected: it must not take one engine after another. */
const maxDrops = 2;
/** An instance that refused a connection is left alone for this long: the request finds another, or its successor. */
const refusedPauseMs = 500;
/** An engine may need a moment to notice that a client has gone and answers 503 meanwhile: longer after each try. */
const busyPauseMs = 50;

/** Offers the request to instances until one has answered. Rejects with the HttpError that is the client's answer. */
export async function offer(
  deps: OfferDeps,
  visit: Visit,
  reply: Reply,
  request: EngineRequest,
): Promise<void> {
  let drops = 0;
  for (let tries = 1; ; tries += 1) {
    const failed = await tryOnce(deps, visit, reply, request, tries);
    if (failed === null) return;
    if (failed.next === "again-unless-repeated") drops += 1;
    if (failed.next === "never" || tries === maxTries || drops === maxDrops) throw failed.error;
  }
}

type Failed = {
  readonly error: HttpError;
  /** Whether the request may be offered again. */
  readonly next: "again" | "again-unless-repeated" | "never";
};

/** Takes a slot, asks its instance, passes the answer on. Null when the client has its answer. */
async function tryOnce(
  deps: OfferDeps,
  visit: Visit,
  reply: Reply,
  asked: EngineRequest,
  tries: number,
): Promise<Failed | null> {
  const { record, signal } = visit;
  const { model } = asked;
  const askedAtMs = deps.now();
  const lease = await deps.admission.acquire(model.deploymentId, signal, tries > 1);
  record.waitedMs += deps.now() - askedAtMs;
  record.instanceId = lease.instance.id;
  try {
    const outcome = await exchange(
      deps,
      visit,
      reply,
      requestFor(asked, lease, visit.requestId),
      tries === maxTries,
    );
    switch (outcome.kind) {
      case "done":
        return null;
      case "busy":
        lease.pause(busyPauseMs * tries ** 2);
        return { error: engineFailed(model, "it was busy"), next: "again" };
      case "locked":
        return { error: engineFailed(model, "it refused Berth's secret"), next: "never" };
      case "failed": {
        const { kind } = outcome.failure;
        if (kind === "refused" || kind === "dropped") lease.pause(refusedPauseMs);
        if (kind === "stalled") reply.cut();
        const next = kind === "refused" ? "again" : kind === "dropped" ? "again-unless-repeated" : "never";
        return { error: explain(model, outcome.failure), next };
      }
    }
  } finally {
    lease.release();
  }
}

type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "busy" }
  | { readonly kind: "locked" }
  | { readonly kind: "failed"; readonly failure: CallFailure };

/** One call to an engine. Rejects with the signal's reason when that ends it, after cutting the connection. */
function exchange(
  deps: OfferDeps,
  { response, signal, record }: Visit,
  reply: Reply,
  request: CallRequest,
  isLastTry: boolean,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: Outcome) => {
      signal.removeEventListener("abort", leave);
      response.off("drain", resume);
      resolve(outcome);
    };
    /** Null, and the call is over, when the reply cannot make anything of what came. */
    const understood = <T>(act: () => T): T | null => {
      try {
        return act();
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        call.abort();
        settle({ kind: "failed", failure: { kind: "nonsense", detail: error.message } });
        return null;
      }
    };
    const call = deps.pool.call(request, {
      onHead(head) {
        const kind = head.status === 503 && !isLastTry ? "busy" : head.status === 401 ? "locked" : null;
        if (kind === null) {
          reply.begin(head);
          return;
        }
        call.abort();
        settle({ kind });
      },
      onBody(piece) {
        noteFirstByte(record, deps.now());
        return understood(() => reply.write(piece)) ?? true;
      },
      onEnd() {
        if (
          understood(() => {
            reply.end();
            return true;
          }) !== null
        )
          settle({ kind: "done" });
      },
      onFailure: (failure) => settle({ kind: "failed", failure }),
    });
    const resume = () => call.resume();
    const leave = () => {
      call.abort();
      reject(signal.reason);
      settle({ kind: "done" }); // settled already: this only takes the listeners away
    };
    response.on("drain", resume);
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
  });
}

function noteFirstByte(record: RequestRecord, nowMs: number): void {
  record.firstByteMs ??= nowMs - record.startedAtMs;
}

/** All an engine is told; nothing of the client's headers goes on. */
function requestFor(
  { enginePath, body, scope }: EngineRequest,
  lease: Lease,
  requestId: string,
): CallRequest {
  const { endpoint, secret } = lease.instance;
  const host = endpoint.kind === "unix" ? "localhost" : `${endpoint.host}:${endpoint.port}`;
  const head = [
    `POST ${enginePath} HTTP/1.1`,
    `host: ${host}`,
    `authorization: Bearer ${secret}`,
    "content-type: application/json",
    `content-length: ${body.length}`,
    `x-request-id: ${requestId}`,
    `x-berth-scope: ${scope}`,
    "\r\n",
  ].join("\r\n");
  return { endpoint, head, body };
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
