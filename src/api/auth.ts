/**
 * Who is calling. Knows the three headers in which clients send an API token and looks its hash up in the store, on
 * every request, so that a revoked token is refused at once. Where the client is, it believes the gateway alone, which
 * is the only one that can reach control. Never logs or returns a secret.
 */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isInRanges, parseIpRange } from "../core/ip-range.ts";
import { looksLikeJwt } from "../core/jwt.ts";
import type { Store } from "../ports/store.ts";
import { HttpError } from "../schema/errors.ts";

export type Caller = {
  readonly account: string;
  readonly isAdmin: boolean;
  readonly tokenId: string;
  /** The client's, as the gateway saw it; "" where that is not known. */
  readonly address: string;
};

/** sha256 in hex. API tokens are long random strings, so that no slow hash is needed to look them up. */
export function hashToken(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Throws `unauthenticated` when there is no account for the token, or it may not be used from where the client is. */
export async function authenticate(store: Store, headers: IncomingHttpHeaders): Promise<Caller> {
  const secret = secretIn(headers);
  const address = clientAddress(headers);
  if (secret === null) {
    throw new HttpError("unauthenticated", 'No token was sent. Send it as "Authorization: Bearer <token>".');
  }
  const token = await store.tokenByHash(hashToken(secret));
  const account = token === null ? null : await store.account(token.account);
  if (token === null || account === null) {
    if (looksLikeJwt(secret)) {
      throw new HttpError("forbidden", "A scoped JWT is for inference only. Use an API token for this.");
    }
    throw new HttpError("unauthenticated", "The token is not valid: it is mistyped, or it was revoked.");
  }
  if ((await store.access.terms(account.name)).isDisabled) {
    throw new HttpError("unauthenticated", "The account of this token is disabled. Ask an administrator.");
  }
  if (!isAllowedFrom(token.allowedIps, address)) {
    throw new HttpError("unauthenticated", "The token may not be used from this address.");
  }
  return { account: account.name, isAdmin: account.isAdmin, tokenId: token.id, address };
}

/** The gateway drops what clients send under this name and puts one address there; "" where it is not known. */
function clientAddress(headers: IncomingHttpHeaders): string {
  return String(headers["x-forwarded-for"] ?? "").trim();
}

/** The first of `Authorization: Bearer`, `xi-api-key` and `x-api-key` that holds something. */
export function secretIn(headers: IncomingHttpHeaders): string | null {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  const keys = [headers["xi-api-key"], headers["x-api-key"]].map((value) => String(value ?? "").trim());
  return [bearer ?? "", ...keys].find((secret) => secret !== "") ?? null;
}

function isAllowedFrom(ranges: readonly string[] | null, address: string): boolean {
  if (ranges === null) return true;
  return isInRanges(
    address,
    ranges.map(parseIpRange).filter((range) => range !== null),
  );
}
