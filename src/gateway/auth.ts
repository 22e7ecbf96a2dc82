/**
 * Who calls: reads the token from a request's headers and looks its hash up. Owns which headers carry one; must not
 * keep or log the secret.
 */
import { hash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { RouteToken } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import type { Directory } from "./models.ts";

/** The secret a request carries: `Authorization: Bearer`, `x-api-key` or `xi-api-key`, the first that is there. */
export function secretOf(headers: IncomingHttpHeaders): string | null {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  return bearer ?? textOf(headers["x-api-key"]) ?? textOf(headers["xi-api-key"]);
}

/**
 * The token a request carries, null when it carries none. Throws HttpError 401 for one that is not valid, and for an
 * Authorization header that is no bearer token.
 */
export function callerOf(headers: IncomingHttpHeaders, directory: Directory): RouteToken | null {
  const secret = secretOf(headers);
  if (secret === null) {
    if (headers.authorization === undefined) return null;
    throw new HttpError("unauthenticated", "The Authorization header is not of the form `Bearer <token>`.");
  }
  const token = directory.tokensByHash.get(hash("sha256", secret));
  if (token === undefined) {
    throw new HttpError(
      "unauthenticated",
      "The API token is not valid. Check that it is complete and has not been deleted.",
    );
  }
  return token;
}

/** As callerOf, but no token is an error too. */
export function requireCaller(headers: IncomingHttpHeaders, directory: Directory): RouteToken {
  const token = callerOf(headers, directory);
  if (token === null) {
    throw new HttpError(
      "unauthenticated",
      "No API token was sent. Send it as `Authorization: Bearer <token>`.",
    );
  }
  return token;
}

/** What engines know of an account: enough to keep its cached prompts apart from others', not its name. */
export function scopeOf(account: string): string {
  return hash("sha256", account).slice(0, 16);
}

function textOf(value: string | string[] | undefined): string | null {
  return typeof value === "string" && value !== "" ? value.trim() : null;
}
