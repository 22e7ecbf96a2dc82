/**
 * Whether a scoped JWT is genuine, and what it allows. The one place where an API token's sealed secret is opened for
 * that. Gateways ask here about each JWT they have not seen; of what is not genuine they hear the same words whatever is
 * wrong with the signer, so that nobody learns which accounts and tokens there are.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { ApiToken } from "../core/account.ts";
import { notGenuine, type ParsedJwt, parseJwt, type Read, readRights } from "../core/jwt.ts";
import type { ScopeQuestion, ScopeVerdict } from "../core/routing.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Vault } from "../ports/vault.ts";

export type ScopeDeps = { readonly store: Store; readonly vault: Vault; readonly clock: Clock };

/** JWTs with a spending limit that an account may have in use at once: each is a row until it expires. */
const maxLimitedScopes = 10_000;

export function createScopeJudge(deps: ScopeDeps): (question: ScopeQuestion) => Promise<ScopeVerdict> {
  return async ({ jwt }) => {
    const verified = await verifyJwt(deps, jwt);
    return verified.ok ? await judge(deps, verified.value) : verified;
  };
}

/** The signer's token and what the JWT says, once the signature is found right. */
export async function verifyJwt(
  { store, vault }: Pick<ScopeDeps, "store" | "vault">,
  jwt: string,
): Promise<Read<{ readonly parsed: ParsedJwt; readonly token: ApiToken }>> {
  const parsed = parseJwt(jwt);
  if (!parsed.ok) return parsed;
  const { account, tokenName } = parsed.value;
  const token = (await store.tokens(account)).find((each) => each.name === tokenName);
  const sealed = token === undefined ? null : await store.sealedToken(token.id);
  if (token === undefined || sealed === null || (await store.access.terms(account)).isDisabled) {
    return { ok: false, reason: notGenuine };
  }
  const expected = signJwt(parsed.value.signedText, vault.open(sealed, `api-token:${token.id}`));
  const given = parsed.value.signature;
  // The length is no secret; the comparison takes the same time for every signature of that length.
  return given.length === expected.length && timingSafeEqual(given, expected)
    ? { ok: true, value: { parsed: parsed.value, token } }
    : { ok: false, reason: notGenuine };
}

export function signJwt(signedText: string, secret: string): Buffer {
  return createHmac("sha256", secret).update(signedText).digest();
}

async function judge(
  { store, clock }: ScopeDeps,
  { parsed, token }: { readonly parsed: ParsedJwt; readonly token: ApiToken },
): Promise<ScopeVerdict> {
  const nowMs = clock.now();
  const rights = readRights(parsed, nowMs);
  if (!rights.ok) return rights;
  const { expiresAtMs, models, spendingLimitUsd } = rights.value;
  // What is signed and by whom: the same for every way to write the JWT down.
  const scopeId = createHash("sha256").update(`${token.id}.${parsed.signedText}`).digest("hex").slice(0, 32);
  const limitNanoUsd = spendingLimitUsd === null ? null : Math.round(spendingLimitUsd * 1e9);
  if (limitNanoUsd !== null) {
    const scope = { scopeId, account: token.account, tokenId: token.id, limitNanoUsd, expiresAtMs };
    if ((await store.access.rememberScope(scope, nowMs, maxLimitedScopes)) === "too-many") {
      return {
        ok: false,
        reason: `${maxLimitedScopes} others of its account have a spending limit and have not expired`,
      };
    }
  }
  const spent = await store.usage.spentByScope([scopeId]);
  return {
    ok: true,
    scopeId,
    account: token.account,
    tokenId: token.id,
    expiresAtMs,
    models,
    spendingLimitNanoUsd: limitNanoUsd,
    spentNanoUsd: spent.get(scopeId) ?? 0,
  };
}
