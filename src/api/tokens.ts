/**
 * API tokens of the caller's account: made, listed, revoked. The secret leaves Berth once, in the answer that makes it.
 * A token may revoke itself. Administrators may revoke any: a leaked one must not wait for its owner.
 */

import { type ApiToken, noRates, type Rates } from "../core/account.ts";
import { ipRangeRule, parseIpRange } from "../core/ip-range.ts";
import {
  type ApiTokenOut,
  apiTokenChangeIn,
  apiTokenIdPath,
  apiTokenIn,
  apiTokenListOut,
  apiTokenOut,
  apiTokenPath,
  nothingOut,
  tokenLimitsIn,
  tokenLimitsOut,
} from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";
import { type Caller, hashToken } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";

/** Most tokens of one account. */
const maxTokens = 1000;

export function tokenOperations(deps: ApiDeps): Operation[] {
  const { store } = deps;
  const bySecret = async (caller: Caller, secret: string) =>
    ownToken(caller, await store.tokenByHash(hashToken(secret)));
  const byId = async (caller: Caller, id: string) => {
    const tokens = await store.tokens(caller.isAdmin ? undefined : caller.account);
    return ownToken(caller, tokens.find((token) => token.id === id) ?? null);
  };
  const revoke = async (token: ApiToken) => {
    if (!(await store.removeToken(token.account, token.id))) throw tokenNotFound();
    return {};
  };
  return [
    operation({
      method: "GET",
      path: "/v1/api-tokens",
      id: "get_api_tokens_v1_api_tokens_get",
      summary: "The tokens of the account, masked",
      answer: apiTokenListOut,
      handle: async ({ caller }) => (await store.tokens(caller.account)).map(toTokenOut),
    }),
    operation({
      method: "POST",
      path: "/v1/api-tokens",
      id: "create_api_token_v1_api_tokens_post",
      summary: "Make a token; the only answer that has its secret",
      body: apiTokenIn,
      answer: apiTokenOut,
      handle: async ({ caller, body }) => {
        if ((await store.tokens(caller.account)).length >= maxTokens) {
          throw new HttpError("bad_request", `An account may have ${maxTokens} tokens. Delete some first.`);
        }
        const allowedIps = readRanges(body.allowed_ips ?? null);
        const made = await addToken(deps, caller.account, { name: body.name, allowedIps });
        if (made === null) {
          throw new HttpError("name_taken", "A token of this account has that name already.", {
            param: "name",
          });
        }
        return { ...toTokenOut(made.token), token: made.secret };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/api-tokens/:api_token",
      id: "get_api_token_v1_api_tokens__api_token__get",
      summary: "One token, by its secret",
      params: apiTokenPath,
      answer: apiTokenOut,
      handle: async ({ caller, path }) => toTokenOut(await bySecret(caller, path.api_token)),
    }),
    operation({
      method: "DELETE",
      path: "/v1/api-tokens/:api_token",
      id: "delete_api_token_v1_api_tokens__api_token__delete",
      summary: "Revoke a token, by its secret",
      params: apiTokenPath,
      answer: nothingOut,
      handle: async ({ caller, path }) => await revoke(await bySecret(caller, path.api_token)),
    }),
    operation({
      method: "GET",
      path: "/v1/api-tokens/id/:token_id",
      id: "get_api_token_by_id",
      summary: "One token, by its id",
      params: apiTokenIdPath,
      answer: apiTokenOut,
      handle: async ({ caller, path }) => toTokenOut(await byId(caller, path.token_id)),
    }),
    ...(["PUT", "PATCH"] as const).map((method) =>
      operation({
        method,
        path: "/v1/api-tokens/id/:token_id",
        id: `berth_api_token_${method.toLowerCase()}`,
        summary: "Set the addresses a token may be used from; null for all",
        params: apiTokenIdPath,
        body: apiTokenChangeIn,
        answer: apiTokenOut,
        handle: async ({ caller, path, body }) => {
          const token = await byId(caller, path.token_id);
          const allowedIps = readRanges(body.allowed_ips);
          if (!(await store.limitToken(token.account, token.id, { allowedIps }))) throw tokenNotFound();
          return toTokenOut({ ...token, allowedIps });
        },
      }),
    ),
    operation({
      method: "GET",
      path: "/v1/berth/tokens/:token_id/limits",
      id: "berth_token_limits",
      summary: "What a token may use of each model, beside its account's limits",
      params: apiTokenIdPath,
      answer: tokenLimitsOut,
      handle: async ({ caller, path }) => toLimitsOut((await byId(caller, path.token_id)).rates),
    }),
    operation({
      method: "PUT",
      path: "/v1/berth/tokens/:token_id/limits",
      id: "berth_set_token_limits",
      summary: "Sets what a token may use of each model; null and 0 are no limit",
      params: apiTokenIdPath,
      body: tokenLimitsIn,
      answer: tokenLimitsOut,
      handle: async ({ caller, path, body }) => {
        const token = await byId(caller, path.token_id);
        const rates = {
          concurrentRequests: body.rate_limit ?? null,
          requestsPerMinute: body.requests_per_minute ?? null,
          tokensPerMinute: body.tpm_rate_limit ?? null,
        };
        if (!(await store.limitToken(token.account, token.id, { rates }))) throw tokenNotFound();
        return toLimitsOut(rates);
      },
    }),
    operation({
      method: "DELETE",
      path: "/v1/api-tokens/id/:token_id",
      id: "delete_api_token_by_id",
      summary: "Revoke a token, by its id",
      params: apiTokenIdPath,
      answer: nothingOut,
      handle: async ({ caller, path }) => await revoke(await byId(caller, path.token_id)),
    }),
  ];
}

/** Makes and stores a token; null when the account has one of that name. */
export async function addToken(
  deps: Pick<ApiDeps, "store" | "vault" | "clock" | "newId" | "newSecret">,
  account: string,
  wanted: Pick<ApiToken, "name" | "allowedIps">,
): Promise<{ readonly token: ApiToken; readonly secret: string } | null> {
  const id = deps.newId();
  const secret = deps.newSecret();
  const token: ApiToken = {
    id,
    account,
    ...wanted,
    rates: noRates,
    hash: hashToken(secret),
    fragment: secret.slice(-5),
    createdAtMs: deps.clock.now(),
  };
  const outcome = await deps.store.addToken(token, deps.vault.seal(secret, `api-token:${id}`));
  return outcome === "added" ? { token, secret } : null;
}

/** An empty list would lock everyone out and is more likely meant as none. */
function readRanges(given: readonly string[] | null): readonly string[] | null {
  if (given === null || given.length === 0) return null;
  const issues = given.flatMap((range, at) =>
    parseIpRange(range) === null
      ? [valueError(["body", "allowed_ips", at], `Each of allowed_ips must be ${ipRangeRule}.`)]
      : [],
  );
  if (issues.length > 0) throw new InputError(issues);
  return given;
}

function ownToken(caller: Caller, token: ApiToken | null): ApiToken {
  if (token === null || (token.account !== caller.account && !caller.isAdmin)) throw tokenNotFound();
  return token;
}

function tokenNotFound(): HttpError {
  return new HttpError(
    "not_found",
    "No API token of this account is that one. GET /v1/api-tokens lists them.",
  );
}

function toTokenOut(token: ApiToken): ApiTokenOut {
  return {
    token: `****${token.fragment}`,
    created_at: Math.floor(token.createdAtMs / 1000),
    name: token.name,
    token_id: token.id,
    allowed_ips: token.allowedIps === null ? null : [...token.allowedIps],
    fragment: token.fragment,
  };
}

function toLimitsOut({ concurrentRequests, requestsPerMinute, tokensPerMinute }: Rates) {
  return {
    rate_limit: concurrentRequests,
    requests_per_minute: requestsPerMinute,
    tpm_rate_limit: tokensPerMinute,
  };
}
