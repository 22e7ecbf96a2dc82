/**
 * Scoped JWTs of the caller's account: minted and inspected. What is minted here is what a holder could sign offline;
 * nothing is stored, and revoking the API token ends them all.
 */
import {
  composeJwt,
  defaultLifetimeS,
  encodeBase64Url,
  jwtPrefix,
  maxJwtChars,
  readRights,
} from "../core/jwt.ts";
import { HttpError } from "../schema/errors.ts";
import {
  type ScopedJwtIn,
  scopedJwtIn,
  scopedJwtOut,
  scopedJwtQuery,
  scopedJwtRightsOut,
} from "../schema/scoped-jwt.ts";
import { valueError } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { InputError } from "./refusal.ts";
import { signJwt, verifyJwt } from "./scopes.ts";

export function scopedJwtOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/v1/scoped-jwt",
      id: "_create_scoped_jwt_v1_scoped_jwt_post",
      summary: "Mint a token with a part of an API token's rights",
      body: scopedJwtIn,
      answer: scopedJwtOut,
      handle: async ({ caller, body }) => ({ token: await mint(deps, caller, body) }),
    }),
    operation({
      method: "GET",
      path: "/v1/scoped-jwt",
      id: "inspect_scoped_jwt_v1_scoped_jwt_get",
      summary: "What a scoped JWT of this account allows",
      query: scopedJwtQuery,
      answer: scopedJwtRightsOut,
      handle: async ({ caller, query }) => {
        const verified = await verifyJwt(deps, query.jwtoken);
        if (!verified.ok || verified.value.token.account !== caller.account) {
          throw new HttpError("not_found", "This is no scoped JWT that an API token of this account signed.");
        }
        const rights = readRights(verified.value.parsed, deps.clock.now());
        if (!rights.ok) {
          throw new HttpError("bad_request", `The scoped JWT allows nothing: ${rights.reason}.`);
        }
        const { expiresAtMs, models, spendingLimitUsd } = rights.value;
        return {
          expires_at: Math.floor(expiresAtMs / 1000),
          models: models === null ? null : [...models],
          spending_limit: spendingLimitUsd,
        };
      },
    }),
  ];
}

async function mint(deps: ApiDeps, { account }: Caller, body: ScopedJwtIn): Promise<string> {
  const token = (await deps.store.tokens(account)).find((each) => each.name === body.api_key_name);
  const sealed = token === undefined ? null : await deps.store.sealedToken(token.id);
  if (token === undefined || sealed === null) {
    const message = "api_key_name names no API token of this account. GET /v1/api-tokens lists them.";
    throw new InputError([valueError(["body", "api_key_name"], message)]);
  }
  const signed = composeJwt({
    account,
    tokenName: token.name,
    id: deps.newId(),
    expiresAtMs: expiryOf(body, deps.clock.now()),
    models: body.models ?? null,
    spendingLimitUsd: body.spending_limit ?? null,
  });
  const secret = deps.vault.open(sealed, `api-token:${token.id}`);
  const jwt = `${signed}.${encodeBase64Url(signJwt(signed, secret))}`;
  if (jwt.length <= maxJwtChars) return jwtPrefix + jwt;
  const message = `models is too long: the scoped JWT would exceed ${maxJwtChars} characters.`;
  throw new InputError([valueError(["body", "models"], message)]);
}

function expiryOf({ expires_at: at, expires_delta: delta }: ScopedJwtIn, nowMs: number): number {
  const hasBoth = (at ?? null) !== null && (delta ?? null) !== null;
  if (hasBoth) {
    const message = "Send expires_delta or expires_at, not both.";
    throw new InputError([valueError(["body", "expires_at"], message)]);
  }
  // A JWT counts whole seconds; a part of one is given rather than taken.
  const expiresAtMs = (at ?? Math.ceil(nowMs / 1000) + (delta ?? defaultLifetimeS)) * 1000;
  if (expiresAtMs > nowMs && expiresAtMs < 253_402_300_800_000) return expiresAtMs;
  const field = (at ?? null) === null ? "expires_delta" : "expires_at";
  const message = `${field} must lead to a time in the future, and before the year 10000.`;
  throw new InputError([valueError(["body", field], message)]);
}
