/**
 * Serves one inference request: who, which model, a slot, an engine, the answer. Owns the order of these steps and
 * what is tried again; each step itself is a neighbour's. Must not know HTTP framing nor routing snapshots.
 */
import type { RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import type { Admission, Lease } from "./admission.ts";
import { requireCaller, scopeOf } from "./auth.ts";
import { type Directory, findModel, isServedName } from "./models.ts";
import type { RequestRecord } from "./record.ts";
import { Reply } from "./reply.ts";
import { type ModelRequest, readBody, readModelRequest } from "./request-body.ts";
import type { CallFailure, CallRequest, EnginePool } from "./upstream.ts";
import type { Visit } from "./visit.ts";

export type InferenceDeps = {
  readonly admission: Admission;
  readonly pool: EnginePool;
  readonly bodyBytes: number;
  now(): number;
  /** The newest routes; throws HttpError when there are none to go by. */
  directory(): Directory;
};

/** Times a request is offered to an instance before its failure is the client's answer. */
const maxTries = 3;
/** Times an engine may die with a request before the request is suspected: it must not take one engine after another. */
const maxDrops = 2;
/** An instance that refused a connection is left alone for this long: the request finds another, or its successor. */
const refusedPauseMs = 500;
/** An engine may need a moment to notice that a client has gone and answers 503 meanwhile: longer after each try. */
const busyPauseMs = 50;

export async function serveInference(deps: InferenceDeps, visit: Visit, enginePath: string): Promise<void> {
  const { request, response, signal, record } = visit;
  const caller = requireCaller(request.headers, deps.directory());
  record.account = caller.account;
  record.tokenId = caller.tokenId;
  const body = await readBody(request, deps.bodyBytes, signal, visit.expectsContinue ? response : null);
  const asked = readModelRequest(body);
  const model = findModel(deps.directory(), asked.selector, caller.account);
  if (model === null) throw modelNotFound(asked.selector);
  record.model = model.name;
  record.deploymentId = model.deploymentId;
  const bytes = bodyFor(model, asked, body);
  const reply = new Reply(response);
  try {
    await offer(deps, visit, reply, model, (lease) => ({
      endpoint: lease.instance.endpoint,
      head: headFor(lease, enginePath, bytes.length, visit.requestId, scopeOf(caller.account)),
      body: bytes,
    }));
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    record.error = error.code;
    if (!response.destroyed) reply.fail(error);
  }
}

/** Offers the request to instances until one has answered. Rejects with the HttpError that is the client's answer. */
async function offer(
  deps: InferenceDeps,
  visit: Visit,
  reply: Reply,
  model: RouteModel,
  requestFor: (lease: Lease) => CallRequest,
): Promise<void> {
  let drops = 0;
  for (let tries = 1; ; tries += 1) {
    const failed = await tryOnce(deps, visit, reply, model, tries, requestFor);
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
  deps: InferenceDeps,
  visit: Visit,
  reply: Reply,
  model: RouteModel,
  tries: number,
  requestFor: (lease: Lease) => CallRequest,
): Promise<Failed | null> {
  const { record, signal } = visit;
  const askedAtMs = deps.now();
  const lease = await deps.admission.acquire(model.deploymentId, signal, tries > 1);
  record.waitedMs += deps.now() - askedAtMs;
  record.instanceId = lease.instance.id;
  try {
    const outcome = await exchange(deps, visit, reply, requestFor(lease), tries === maxTries);
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
  deps: InferenceDeps,
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
        return reply.write(piece);
      },
      onEnd() {
        reply.end();
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

/** The body as it came where that is safe; else written anew, so that the engine reads what the gateway has read. */
function bodyFor(model: RouteModel, asked: ModelRequest, body: Buffer): Buffer {
  const isKnownToEngine = isServedName(model, asked.selector);
  if (isKnownToEngine && asked.isUnambiguous) return body;
  return Buffer.from(
    JSON.stringify({ ...asked.fields, model: isKnownToEngine ? asked.selector : model.name }),
  );
}

/** All an engine is told; nothing of the client's headers goes on. */
function headFor(lease: Lease, path: string, length: number, requestId: string, scope: string): string {
  const { endpoint, secret } = lease.instance;
  const host = endpoint.kind === "unix" ? "localhost" : `${endpoint.host}:${endpoint.port}`;
  return [
    `POST ${path} HTTP/1.1`,
    `host: ${host}`,
    `authorization: Bearer ${secret}`,
    "content-type: application/json",
    `content-length: ${length}`,
    `x-request-id: ${requestId}`,
    `x-berth-scope: ${scope}`,
    "\r\n",
  ].join("\r\n");
}

function modelNotFound(selector: string): HttpError {
  const shown = JSON.stringify(selector.length > 200 ? `${selector.slice(0, 200)}…` : selector);
  return new HttpError(
    "model_not_found",
    `There is no model ${shown} that this token may use. GET /v1/models lists those it may.`,
    { param: "model" },
  );
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
