/**
 * The caller's own quotas, in both generations of DeepInfra's API, and asking for higher ones. A request waits until an
 * administrator decides on it (`limit-requests.ts`). Rates are enforced by the gateway, GPUs by `gpu-quota.ts`.
 */
import type { LimitRequest, WantedLimits } from "../core/account.ts";
import { type GpuType, gpuTypes } from "../core/deployment.ts";
import { gpuLimit } from "../core/gpu-quota.ts";
import { rateLimitsOf } from "../core/routes.ts";
import { nothingOut } from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import {
  type GpuPoolRequestOut,
  gpuLimitOut,
  gpuLimitRequestIn,
  gpuPoolOut,
  gpuPoolRequestIn,
  gpuPoolRequestOut,
  gpuTypesOut,
  limitRequestPath,
  rateLimitOut,
  rateLimitRequestIn,
} from "../schema/limits.ts";
import { valueError } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";

/** What stands for "no limit" where the API wants a number. */
const noLimit = 2_147_483_647;
/** Tries to ask while others of the account ask too. */
const maxTries = 10;

export function limitOperations(deps: ApiDeps): Operation[] {
  return [...rateOperations(deps), ...gpuLimitOperations(deps), ...gpuPoolOperations(deps)];
}

function rateOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/me/rate_limit",
      id: "account_rate_limit_v1_me_rate_limit_get",
      summary: "Requests at once and tokens per minute at one model",
      answer: rateLimitOut,
      handle: async ({ caller }) => {
        const { limits } = await deps.store.access.terms(caller.account);
        const rates = rateLimitsOf(limits, deps.limits.accountRates);
        return {
          rate_limit: rates.concurrentRequests ?? noLimit,
          tpm_rate_limit: rates.tokensPerMinute ?? noLimit,
        };
      },
    }),
    operation({
      method: "POST",
      path: "/v1/me/rate_limit/request",
      id: "request_rate_limit_increase_v1_me_rate_limit_request_post",
      summary: "Ask for other rates; takes the place of an earlier request",
      body: rateLimitRequestIn,
      answer: nothingOut,
      handle: async ({ caller, body }) => {
        const tokens = body.tpm_rate_limit ?? null;
        await ask(deps, caller, "rate", () => ({
          wanted: {
            concurrentRequests: body.rate_limit,
            ...(tokens === null ? {} : { tokensPerMinute: tokens }),
          },
          reason: body.reason,
        }));
        return {};
      },
    }),
  ];
}

function gpuLimitOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/me/gpu_limit",
      id: "account_gpu_limit_v1_me_gpu_limit_get",
      summary: "GPUs of each type that running deployments may grow to together",
      answer: gpuLimitOut,
      handle: async ({ caller }) => {
        const pending = await pendingRequest(deps, caller, "gpu");
        return { limits: await gpuLimits(deps, caller), pending_requests: pending?.wanted.gpus ?? null };
      },
    }),
    operation({
      method: "POST",
      path: "/v1/me/gpu_limit/request",
      id: "request_gpu_limit_increase_v1_me_gpu_limit_request_post",
      summary: "Ask for another limit of one GPU type; joins an earlier request",
      body: gpuLimitRequestIn,
      answer: nothingOut,
      handle: async ({ caller, body }) => {
        const gpus = readGpus({ [body.gpu_type]: body.requested_limit }, "gpu_type");
        await ask(deps, caller, "gpu", (pending) => ({
          wanted: { gpus: { ...pending?.wanted.gpus, ...gpus } },
          reason: body.reason,
        }));
        return {};
      },
    }),
  ];
}

function gpuPoolOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/gpu_pool/gpu_types",
      id: "gpu_pool_gpu_types",
      summary: "GPU types that limits are counted in",
      answer: gpuTypesOut,
      handle: async () => ({ gpu_types: [...gpuTypes] }),
    }),
    operation({
      method: "GET",
      path: "/v1/me/gpu_pool",
      id: "me_gpu_pool",
      summary: "The same limits, with the request that waits and the last rejection",
      answer: gpuPoolOut,
      handle: async ({ caller }) => {
        const pending = await pendingRequest(deps, caller, "gpu");
        const [rejected] = (
          await deps.store.access.limitRequests({ account: caller.account, state: "rejected", limit: 100 })
        )
          .filter(({ kind }) => kind === "gpu")
          .sort((a, b) => (b.decidedAtMs ?? 0) - (a.decidedAtMs ?? 0));
        return {
          max_limits: await gpuLimits(deps, caller),
          // Berth keeps no GPUs free for an account.
          min_limits: Object.fromEntries(gpuTypes.map((type) => [type, 0])),
          pending_request: pending === null ? null : toPoolRequest(pending),
          last_rejection:
            rejected === undefined
              ? null
              : {
                  ...toPoolRequest(rejected),
                  rejection_reason: rejected.answer,
                  rejected_at: Math.floor((rejected.decidedAtMs ?? 0) / 1000),
                },
        };
      },
    }),
    operation({
      method: "POST",
      path: "/v1/me/gpu_pool/request",
      id: "me_gpu_pool_request",
      summary: "Ask for other GPU limits; the earlier request's id must be named to replace it",
      body: gpuPoolRequestIn,
      answer: gpuPoolRequestOut,
      handle: async ({ caller, body }) => {
        const gpus = readGpus(body.requested_max ?? {}, "requested_max");
        if (Object.values(body.requested_min ?? {}).some((count) => count > 0)) {
          throw new HttpError("bad_request", "Berth keeps no GPUs free: requested_min can only be 0.");
        }
        if (Object.keys(gpus).length === 0) {
          throw new HttpError("bad_request", "requested_max names no GPU type, so nothing is asked for.");
        }
        const asked = await ask(deps, caller, "gpu", (pending) => {
          if (pending !== null && pending.id !== body.expected_request_id) {
            throw new HttpError(
              "conflict",
              "Another request waits already. GET /v1/me/gpu_pool shows it; send its id as expected_request_id to replace it, or delete it.",
            );
          }
          return { wanted: { gpus }, reason: body.reason };
        });
        return toPoolRequest(asked);
      },
    }),
    operation({
      method: "DELETE",
      path: "/v1/me/gpu_pool/request/:request_id",
      id: "me_gpu_pool_request_delete",
      summary: "Take back a request",
      params: limitRequestPath,
      answer: nothingOut,
      handle: async ({ caller, path }) => {
        const pending = await pendingRequest(deps, caller, "gpu");
        const withdrawn =
          pending !== null &&
          pending.id === path.request_id &&
          (await deps.store.access.changeLimitRequest({
            ...pending,
            state: "withdrawn",
            decidedAtMs: deps.clock.now(),
          }));
        if (!withdrawn) {
          throw new HttpError("not_found", "No request of this account waits under that id.");
        }
        return {};
      },
    }),
  ];
}

/** Stores what `compose` makes of the request that waits already, if one does; it keeps its id then. */
async function ask(
  deps: ApiDeps,
  caller: Caller,
  kind: LimitRequest["kind"],
  compose: (pending: LimitRequest | null) => { wanted: WantedLimits; reason: string },
): Promise<LimitRequest> {
  const { access } = deps.store;
  for (let attempt = 1; attempt <= maxTries; attempt += 1) {
    const pending = await pendingRequest(deps, caller, kind);
    const composed = compose(pending);
    if (pending !== null) {
      const next = { ...pending, ...composed };
      if (await access.changeLimitRequest(next)) return next;
      continue; // it was decided meanwhile
    }
    const request: LimitRequest = {
      id: deps.newId(),
      account: caller.account,
      kind,
      state: "pending",
      ...composed,
      createdAtMs: deps.clock.now(),
      decidedAtMs: null,
      answer: "",
    };
    if ((await access.addLimitRequest(request)) === "added") return request;
  }
  throw new HttpError("conflict", "Others of this account ask for limits at the same time. Try again.");
}

async function pendingRequest(
  { store }: ApiDeps,
  { account }: Caller,
  kind: LimitRequest["kind"],
): Promise<LimitRequest | null> {
  const pending = await store.access.limitRequests({ account, state: "pending", limit: 10 });
  return pending.find((each) => each.kind === kind) ?? null;
}

async function gpuLimits(deps: ApiDeps, { account }: Caller): Promise<Record<string, number>> {
  const { limits } = await deps.store.access.terms(account);
  const quota = { limits, defaultGpus: deps.limits.accountGpus };
  return Object.fromEntries(gpuTypes.map((type) => [type, gpuLimit(quota, type)]));
}

function readGpus(given: Readonly<Record<string, number>>, field: string): Partial<Record<GpuType, number>> {
  const isType = (name: string): name is GpuType => gpuTypes.some((type) => type === name);
  if (!Object.keys(given).every(isType)) {
    const message = `${field} may name ${gpuTypes.join(", ")}; it has another type.`;
    throw new InputError([valueError(["body", field], message)]);
  }
  return given;
}

function toPoolRequest(request: LimitRequest): GpuPoolRequestOut {
  return {
    request_id: request.id,
    requested_max: { ...request.wanted.gpus },
    requested_min: {},
    reason: request.reason,
    created_at: Math.floor(request.createdAtMs / 1000),
  };
}
