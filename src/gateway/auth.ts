/**
 * Who calls: reads the token from a request's headers and looks its hash up; a scoped JWT is looked up in the book of
 * scopes. Owns which headers carry a token and from where it may be used; must not log the secret.
 */
import { hash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type IpRange, isInRanges, parseIpRange } from "../core/ip-range.ts";
import { looksLikeJwt } from "../core/jwt.ts";
import type { RouteModel, RouteToken } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { type Directory, findModel } from "./models.ts";
import type { Scope, ScopeBook } from "./scopes.ts";
import type { Visit } from "./visit.ts";

export type Caller = {
  readonly account: string;
  /** The API token, also where a scoped JWT of it calls. */
  readonly tokenId: string;
  /** sha256 (hex) of what was sent as the token. */
  readonly secretHash: string;
  /** What a scoped JWT narrows the token's rights to; null for the token itself. */
  readonly scope: Scope | null;
  /** An administrator's token; a scoped JWT is none. */
  readonly isAdmin: boolean;
};

export type Authenticator = {
  /**
   * Who the token of a request stands for, null when it carries none. Throws HttpError 401 for one that is not valid or
   * may not be used from there, for an Authorization header that is no bearer token, and 402 for a scoped JWT that has
   * spent its limit. Only for a scoped JWT has control to be asked: all others are known at once.
   */
  find(visit: Pick<Visit, "request" | "origin">, directory: Directory): Caller | null | Promise<Caller>;
  /** As find, but no token is an error too. */
  require(visit: Pick<Visit, "request" | "origin">, directory: Directory): Caller | Promise<Caller>;
};

/** Secrets whose hashes are remembered. */
const maxHashes = 1000;

export function createAuthenticator(scopes: ScopeBook): Authenticator {
  /** Ranges of the tokens that have some, parsed; they go with their snapshot. */
  const rangesOf = new WeakMap<RouteToken, readonly IpRange[]>();
  /** By the secret, of tokens that were good when they called: to hash one costs as much as all else here. In memory alone. */
  const hashes = new Map<string, string>();

  function hashOf(secret: string): string {
    return hashes.get(secret) ?? hash("sha256", secret);
  }

  function remember(secret: string, secretHash: string): void {
    if (hashes.has(secret)) return;
    if (hashes.size >= maxHashes) hashes.clear();
    hashes.set(secret, secretHash);
  }

  function checkAddress(token: RouteToken, address: string): void {
    if (token.allowedIps === null) return;
    let ranges = rangesOf.get(token);
    if (ranges === undefined) {
      ranges = token.allowedIps.map(parseIpRange).filter((range) => range !== null);
      rangesOf.set(token, ranges);
    }
    if (!isInRanges(address, ranges)) {
      throw new HttpError("unauthenticated", "The API token may not be used from this address.");
    }
  }

  function find(
    { request, origin }: Pick<Visit, "request" | "origin">,
    directory: Directory,
  ): Caller | null | Promise<Caller> {
    const secret = secretOf(request.headers);
    if (secret === null) {
      if (request.headers.authorization === undefined) return null;
      throw new HttpError("unauthenticated", "The Authorization header is not of the form `Bearer <token>`.");
    }
    const secretHash = hashOf(secret);
    const token = directory.tokensByHash.get(secretHash);
    if (token !== undefined) {
      remember(secret, secretHash);
      checkAddress(token, origin.address);
      const { account, tokenId, isAdmin } = token;
      return { account, tokenId, secretHash, scope: null, isAdmin };
    }
    if (looksLikeJwt(secret)) return findScoped(secret, secretHash, origin.address, directory);
    throw new HttpError(
      "unauthenticated",
      "The API token is not valid. Check that it is complete and has not been deleted.",
    );
  }

  async function findScoped(
    jwt: string,
    secretHash: string,
    address: string,
    directory: Directory,
  ): Promise<Caller> {
    const { scope, parent } = await scopes.find(jwt, directory);
    checkAddress(parent, address);
    const { account, tokenId } = parent;
    return { account, tokenId, secretHash, scope, isAdmin: false };
  }

  return {
    find,
    require(visit, directory) {
      const caller = find(visit, directory);
      if (caller !== null) return caller;
      throw new HttpError(
        "unauthenticated",
        "No API token was sent. Send it as `Authorization: Bearer <token>`.",
      );
    },
  };
}

/** The secret a request carries: `Authorization: Bearer`, `x-api-key` or `xi-api-key`, the first that is there. */
export function secretOf(headers: IncomingHttpHeaders): string | null {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  return bearer ?? textOf(headers["x-api-key"]) ?? textOf(headers["xi-api-key"]);
}

/** The models that a scoped JWT is limited to, however it names them; null where the caller may use all it sees. */
export function allowedModels(
  { account, scope }: Caller,
  directory: Directory,
): ReadonlySet<RouteModel> | null {
  if (scope === null || scope.models === null) return null;
  return new Set(
    scope.models.map((selector) => findModel(directory, selector, account)).filter((model) => model !== null),
  );
}

/** Of the accounts that called lately, so that not every request is charged a hash. */
const scopes = new Map<string, string>();
const maxScopes = 10_000;

/** What engines know of an account: enough to keep its cached prompts apart from others', not its name. */
export function scopeOf(account: string): string {
  let scope = scopes.get(account);
  if (scope === undefined) {
    scope = hash("sha256", account).slice(0, 16);
    if (scopes.size >= maxScopes) scopes.clear();
    scopes.set(account, scope);
  }
  return scope;
}

function textOf(value: string | string[] | undefined): string | null {
  return typeof value === "string" && value !== "" ? value.trim() : null;
}
