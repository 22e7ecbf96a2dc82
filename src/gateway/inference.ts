/**
 * Serves one inference request: who, what is asked, which model, the answer. Owns the order of these steps and the other
 * models that a request names in case the first cannot serve; each step itself is a neighbour's. Must not know HTTP
 * framing, routing snapshots, nor what a face's bodies say.
 */
import type { RouteModel } from "../core/routing.ts";
import { costNanoUsd, type TokenUsage } from "../core/usage.ts";
import { HttpError, type HttpErrorCode } from "../schema/errors.ts";
import { sendJson } from "./answer.ts";
import { type Authenticator, allowedModels, type Caller, scopeOf } from "./auth.ts";
import type { Asked, Face, Reply, ReplyAbout } from "./faces/face.ts";
import { type Directory, findModel } from "./models.ts";
import { type OfferDeps, offer } from "./offer.ts";
import { readBody } from "./request-body.ts";
import type { Scope } from "./scopes.ts";
import type { Visit } from "./visit.ts";
import type { Webhooks } from "./webhooks.ts";

export type InferenceDeps = OfferDeps & {
  readonly bodyBytes: number;
  readonly authenticator: Authenticator;
  /** Longest time for all of it, milliseconds. */
  readonly totalMs: number;
  /** Milliseconds of a clock that is never set. */
  uptime(): number;
  /** The newest routes; throws HttpError when there are none to go by. */
  directory(): Directory;
  readonly webhooks: Webhooks;
};

export type InferenceRoute = {
  readonly face: Face;
  readonly path: string;
  readonly query: URLSearchParams;
};

/** A model that a request may be served by, with the selector that named it. */
type Named = { readonly model: RouteModel; readonly selector: string };

/** Errors after which the next model of the request's list is tried. */
const passedOver: ReadonlySet<HttpErrorCode> = new Set([
  "unsupported_parameter",
  "queue_full",
  "overloaded",
  "rate_limited",
  "engine_failed",
  "model_not_found",
  "model_not_ready",
  "timeout",
]);

export async function serveInference(
  deps: InferenceDeps,
  visit: Visit,
  { face, path, query }: InferenceRoute,
): Promise<void> {
  const { request, response, requestId, signal, record } = visit;
  limitTotal(deps, visit);
  try {
    const found = deps.authenticator.require(visit, deps.directory());
    const caller = found instanceof Promise ? await found : found;
    record.account = caller.account;
    record.tokenId = caller.tokenId;
    record.scopeId = caller.scope?.scopeId ?? null;
    const read = readBody(request, deps.bodyBytes, signal, visit.expectsContinue ? response : null);
    const body = read instanceof Promise ? await read : read;
    const asked = face.read({ path, query, headers: request.headers, body, requestId, nowMs: deps.now() });
    record.kind = asked.kind;
    const named = findModels(deps.directory(), asked.selectors, caller);
    if (asked.delivery !== undefined) {
      startJob(deps, visit, asked, asked.delivery, named, caller);
      return;
    }
    for (const one of named) {
      if ((await serveBy(deps, visit, asked, one, caller, one === named.at(-1))) === "done") return;
    }
  } finally {
    visit.dueAtMs = Number.POSITIVE_INFINITY;
  }
}

/** From now on the visit may take so long, until it is served. */
function limitTotal({ totalMs, uptime }: InferenceDeps, visit: Visit): void {
  visit.dueAtMs = uptime() + totalMs;
}

/** Answers at once; the work goes on without the client, and its answer goes to a webhook. */
function startJob(
  deps: InferenceDeps,
  visit: Visit,
  asked: Asked,
  delivery: NonNullable<Asked["delivery"]>,
  named: readonly Named[],
  caller: Caller,
): void {
  const url = deps.webhooks.admit(delivery.url);
  // What would be refused for sure is refused now.
  for (const { model, selector } of named.slice(0, 1)) asked.bodyFor(model, selector);
  deps.webhooks.start(visit, {
    ...{ url, delivery, tokenHash: caller.secretHash },
    async serve(job, openReply) {
      const collected = { ...asked, reply: (_: unknown, about: ReplyAbout) => openReply(about) };
      limitTotal(deps, job);
      try {
        for (const one of named) {
          if ((await serveBy(deps, job, collected, one, caller, one === named.at(-1))) === "done") return;
        }
      } finally {
        job.dueAtMs = Number.POSITIVE_INFINITY;
      }
    },
  });
  visit.record.kind = null; // the job has a record of its own: it is counted once
  sendJson(visit.response, 200, delivery.queued);
}

/** Serves by one model; "next" when it could not and another is to be tried. */
async function serveBy(
  deps: InferenceDeps,
  visit: Visit,
  asked: Asked,
  { model, selector }: Named,
  { account, tokenId, scope: jwt }: Caller,
  isLast: boolean,
): Promise<"done" | "next"> {
  const { response, requestId, record } = visit;
  const { prices } = model;
  record.model = model.name;
  record.deploymentId = model.deploymentId;
  const about = { model, selector, prices, requestId, startedAtMs: record.startedAtMs, now: deps.now };
  let reply: Reply | null = null;
  const openReply = () => {
    reply = asked.reply(response, about);
    return reply;
  };
  try {
    const scope = scopeOf(account);
    const body = salted(asked.bodyFor(model, selector), model, scope);
    const { enginePath, isStream, tier, failFast } = asked;
    record.isStream = isStream;
    const turn = { account, tokenId, tier, failFast };
    await offer(deps, visit, { model, enginePath, body, isStream, scope, turn }, openReply);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    if (!isLast && !response.headersSent && passedOver.has(error.code)) return "next";
    record.error = error.code;
    reply ??= openReply();
    if (!response.destroyed) reply.fail(error);
  } finally {
    noteUsage(visit, reply?.usage ?? null, model, jwt);
  }
  return "done";
}

/**
 * Engines that keep the cached prompts of different salts apart get one for each account. No face lets a salt through, so
 * that it can be put in front.
 * @param body one JSON object that is not empty
 */
function salted(body: Buffer, { abilities }: RouteModel, scope: string): Buffer {
  if (abilities.cacheScope !== "salt") return body;
  const start = body.indexOf("{") + 1;
  const salt = Buffer.from(`"cache_salt":${JSON.stringify(scope)},`);
  return Buffer.concat([body.subarray(0, start), salt, body.subarray(start)]);
}

function noteUsage(
  { record }: Visit,
  usage: TokenUsage | null,
  { prices }: RouteModel,
  jwt: Scope | null,
): void {
  if (usage === null) return;
  record.inputTokens = usage.inputTokens;
  record.outputTokens = usage.outputTokens;
  record.cachedTokens = usage.cachedTokens;
  record.costNanoUsd = costNanoUsd(usage, prices);
  jwt?.spend(record.costNanoUsd);
}

/** The models that these selectors name for the caller, in order, each once. Throws HttpError when there is none. */
function findModels(directory: Directory, selectors: readonly string[], caller: Caller): Named[] {
  const allowed = allowedModels(caller, directory);
  const named: Named[] = [];
  for (const selector of selectors) {
    const model = findModel(directory, selector, caller.account);
    if (model === null || allowed?.has(model) === false) continue;
    if (!named.some((one) => one.model === model)) named.push({ model, selector });
  }
  if (named.length === 0) throw modelNotFound(selectors[0] ?? "");
  return named;
}

function modelNotFound(selector: string): HttpError {
  const shown = JSON.stringify(selector.length > 200 ? `${selector.slice(0, 200)}…` : selector);
  return new HttpError(
    "model_not_found",
    `There is no model ${shown} that this token may use. GET /v1/models lists those it may.`,
    { param: "model" },
  );
}
