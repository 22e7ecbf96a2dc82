/**
 * API tokens of the caller's account: made, listed, revoked. The secret leaves Berth once, in the answer that makes it.
 * A token may revoke itself. Administrators may revoke any: a leaked one must not wait for its owner.
 */

import type { ApiToken } from "../core/account.ts";
import {
  type ApiTokenOut,
  apiTokenIdPath,
  apiTokenIn,
  apiTokenListOut,
  apiTokenOut,
  apiTokenPath,
  nothingOut,
} from "../schema/account.ts";
import { HttpError } from "../schema/errors.ts";
import { type Caller, hashToken } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

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
      answer: apiTokenListOut,
      handle: async ({ caller }) => (await store.tokens(caller.account)).map(toTokenOut),
    }),
    operation({
      method: "POST",
      path: "/v1/api-tokens",
      body: apiTokenIn,
      answer: apiTokenOut,
      handle: async ({ caller, body }) => {
        if ((await store.tokens(caller.account)).length >= maxTokens) {
          throw new HttpError("bad_request", `An account may have ${maxTokens} tokens. Delete some first.`);
        }
        const made = await addToken(deps, caller.account, body.name);
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
      params: apiTokenPath,
      answer: apiTokenOut,
      handle: async ({ caller, path }) => toTokenOut(await bySecret(caller, path.api_token)),
    }),
    operation({
      method: "DELETE",
      path: "/v1/api-tokens/:api_token",
      params: apiTokenPath,
      answer: nothingOut,
      handle: async ({ caller, path }) => await revoke(await bySecret(caller, path.api_token)),
    }),
    operation({
      method: "GET",
      path: "/v1/api-tokens/id/:token_id",
      params: apiTokenIdPath,
      answer: apiTokenOut,
      handle: async ({ caller, path }) => toTokenOut(await byId(caller, path.token_id)),
    }),
    operation({
      method: "DELETE",
      path: "/v1/api-tokens/id/:token_id",
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
  name: string,
): Promise<{ readonly token: ApiToken; readonly secret: string } | null> {
  const id = deps.newId();
  const secret = deps.newSecret();
  const token: ApiToken = {
    id,
    account,
    name,
    hash: hashToken(secret),
    fragment: secret.slice(-5),
    createdAtMs: deps.clock.now(),
  };
  const outcome = await deps.store.addToken(token, deps.vault.seal(secret, `api-token:${id}`));
  return outcome === "added" ? { token, secret } : null;
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
    allowed_ips: null,
    fragment: token.fragment,
  };
}
