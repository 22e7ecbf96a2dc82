/**
 * What a browser is told when a page of another origin calls: whether it may, and what it may read. Owns the CORS headers
 * of every path; must not authenticate: a page that may call still needs a token. Pure.
 */
import type { IncomingHttpHeaders } from "node:http";

export type CorsAnswer = {
  /** Headers for the answer, whatever it is. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The browser asks beforehand, and 204 with these headers is the whole answer. */
  readonly isPreflight: boolean;
};

/** Seconds for which a browser need not ask again. */
const maxAgeS = 600;
const readable = "x-request-id, request-id, retry-after";
const none: CorsAnswer = { headers: [], isPreflight: false };

/** @param origins those that may call, `*` for all */
export function answerCors(
  origins: readonly string[],
  method: string | undefined,
  headers: IncomingHttpHeaders,
): CorsAnswer {
  if (origins.length === 0) return none;
  // Caches must keep the answers for different origins apart, also that for none.
  const varies = ["vary", "origin"] as const;
  const { origin } = headers;
  const isAllowed = origin !== undefined && (origins.includes("*") || origins.includes(origin.toLowerCase()));
  if (!isAllowed) return { headers: [varies], isPreflight: false };
  const allowed = [varies, ["access-control-allow-origin", origin]] as const;
  if (method !== "OPTIONS" || headers["access-control-request-method"] === undefined) {
    return { headers: [...allowed, ["access-control-expose-headers", readable]], isPreflight: false };
  }
  const asked = headers["access-control-request-headers"];
  return {
    headers: [
      ...allowed,
      ["access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"],
      ...(asked === undefined ? [] : [["access-control-allow-headers", asked] as const]),
      ["access-control-max-age", String(maxAgeS)],
    ],
    isPreflight: true,
  };
}
