/**
 * Who is calling. Knows the three headers in which clients send an API token and looks its hash up in the store, on
 * every request, so that a revoked token is refused at once. Never logs or returns a secret.
 */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Store } from "../ports.ts";
import { HttpError } from "../schema/errors.ts";

export type Caller = {
  readonly account: string;
  readonly isAdmin: boolean;
  readonly tokenId: string;
};

/** sha256 in hex. API tokens are long random strings, so that no slow hash is needed to look them up. */
export function hashToken(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Throws `unauthenticated` when there is no token or no account for it. */
export async function authenticate(store: Store, headers: IncomingHttpHeaders): Promise<Caller> {
  const secret = secretIn(headers);
  if (secret === null) {
    throw new HttpError("unauthenticated", 'No token was sent. Send it as "Authorization: Bearer <token>".');
  }
  const token = await store.tokenByHash(hashToken(secret));
  const account = token === null ? null : await store.account(token.account);
  if (token === null || account === null) {
    throw new HttpError("unauthenticated", "The token is not valid: it is mistyped, or it was revoked.");
  }
  return { account: account.name, isAdmin: account.isAdmin, tokenId: token.id };
}

/** The first of `Authorization: Bearer`, `xi-api-key` and `x-api-key` that holds something. */
export function secretIn(headers: IncomingHttpHeaders): string | null {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  const keys = [headers["xi-api-key"], headers["x-api-key"]].map((value) => String(value ?? "").trim());
  return [bearer ?? "", ...keys].find((secret) => secret !== "") ?? null;
}
