/** What accounts ask for, and an administrator's decision on it: Berth's own. A grant sets the limits that were asked for. */
import { grantLimits, type LimitRequest } from "../core/account.ts";
import { HttpError } from "../schema/errors.ts";
import {
  type LimitRequestOut,
  limitDecisionIn,
  limitRequestListOut,
  limitRequestOut,
  limitRequestPath,
  limitRequestQuery,
} from "../schema/limits.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

/** Most requests in one list. */
const maxListed = 1000;

export function limitRequestOperations(deps: ApiDeps): Operation[] {
  const { access } = deps.store;
  return [
    operation({
      method: "GET",
      path: "/v1/berth/limit-requests",
      id: "berth_limit_requests",
      summary: "Requests for higher limits, newest first",
      access: "administrator",
      query: limitRequestQuery,
      answer: limitRequestListOut,
      handle: async ({ query }) => {
        const found = await access.limitRequests({
          limit: maxListed,
          ...(query.state === "all" ? {} : { state: query.state }),
          ...(query.account === undefined ? {} : { account: query.account }),
        });
        return found.map(toRequestOut);
      },
    }),
    ...(["grant", "reject"] as const).map((verb) =>
      operation({
        method: "POST",
        path: `/v1/berth/limit-requests/:request_id/${verb}`,
        id: `berth_limit_request_${verb}`,
        summary: verb === "grant" ? "Set the limits that a request asks for" : "Refuse a request",
        access: "administrator",
        params: limitRequestPath,
        body: limitDecisionIn,
        answer: limitRequestOut,
        handle: async ({ path, body }) =>
          toRequestOut(await decide(deps, path.request_id, verb, body?.answer ?? "")),
      }),
    ),
  ];
}

async function decide(
  { store, clock }: ApiDeps,
  id: string,
  verb: "grant" | "reject",
  answer: string,
): Promise<LimitRequest> {
  const request = /^[A-Za-z0-9]{1,64}$/.test(id) ? await store.access.limitRequest(id) : null;
  if (request === null) {
    throw new HttpError(
      "not_found",
      "There is no request of that id. GET /v1/berth/limit-requests lists them.",
    );
  }
  if (request.state !== "pending") throw decidedAlready(request.state);
  // The limits first: after a crash in between the request still waits, and granting it again changes nothing more.
  if (verb === "grant") {
    await store.access.changeTerms(request.account, (current) => ({
      ...current,
      limits: grantLimits(current.limits, request.wanted),
    }));
  }
  const state = verb === "grant" ? ("granted" as const) : ("rejected" as const);
  const decided = { ...request, state, decidedAtMs: clock.now(), answer };
  if (!(await store.access.changeLimitRequest(decided))) throw decidedAlready("decided on or withdrawn");
  return decided;
}

function decidedAlready(state: string): HttpError {
  return new HttpError("conflict", `The request is ${state} already.`);
}

function toRequestOut(request: LimitRequest): LimitRequestOut {
  const { concurrentRequests, tokensPerMinute, gpus } = request.wanted;
  return {
    request_id: request.id,
    account: request.account,
    kind: request.kind,
    state: request.state,
    wanted: {
      ...(concurrentRequests === undefined ? {} : { rate_limit: concurrentRequests }),
      ...(tokensPerMinute === undefined ? {} : { tpm_rate_limit: tokensPerMinute }),
      ...(gpus === undefined ? {} : { gpus: { ...gpus } }),
    },
    reason: request.reason,
    created_at: Math.floor(request.createdAtMs / 1000),
    decided_at: request.decidedAtMs === null ? null : Math.floor(request.decidedAtMs / 1000),
    answer: request.answer,
  };
}
