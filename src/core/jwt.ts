/**
 * Scoped JWTs: an API token's holder signs them with the token itself (HMAC-SHA-256), Berth's own or offline, to hand on a
 * part of its rights: inference, with some models, until a time, up to a sum. Owns their form and what each claim means.
 * Pure: the signature is checked by whoever has the secret. Claims count for nothing before that.
 *
 * Header: `alg` HS256, `kid` `<account>:<base64 of the API token's name>`. Claims: `exp`, or `iat` alone for a year from
 * then; `sub`, if there, is the account; `model` for one model or `models` for several; `spending_limit` in US dollars;
 * `nbf`. What would narrow the rights in a way that is not known here is refused, not ignored.
 */

/** In front of the JWT when it is sent as a token; may be left out. */
export const jwtPrefix = "jwt:";
export const maxJwtChars = 8000;
export const maxJwtModels = 100;
/** Lifetime of a JWT that names none. */
export const defaultLifetimeS = 365 * 24 * 3600;
/** How far ahead the signer's clock may be of this one's. `exp` is not stretched by it. */
export const clockSkewMs = 60_000;
/** More than anyone spends; keeps billionths of it a whole number. */
export const maxSpendingLimitUsd = 1_000_000;

/** Said of every JWT whose signer or signature is not right, so that nobody learns which accounts and tokens there are. */
export const notGenuine = "it was not signed by an API token that exists";

export type ParsedJwt = {
  readonly account: string;
  /** Name of the API token that signed it. */
  readonly tokenName: string;
  /** What is signed. */
  readonly signedText: string;
  readonly signature: Uint8Array;
  readonly claims: Readonly<Record<string, unknown>>;
};

export type JwtRights = {
  readonly expiresAtMs: number;
  /** Null for all models. */
  readonly models: readonly string[] | null;
  readonly spendingLimitUsd: number | null;
};

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/** Whether a token that is sent wants to be a JWT. */
export function looksLikeJwt(token: string): boolean {
  return token.startsWith(jwtPrefix) || /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/.test(token);
}

/** Takes the JWT apart. Says nothing about whether it is genuine. */
export function parseJwt(token: string): Read<ParsedJwt> {
  const text = token.startsWith(jwtPrefix) ? token.slice(jwtPrefix.length) : token;
  if (text.length > maxJwtChars) return refuse(`it is longer than ${maxJwtChars} characters`);
  const [headerText, claimsText, signatureText, ...rest] = text.split(".");
  if (
    headerText === undefined ||
    claimsText === undefined ||
    signatureText === undefined ||
    rest.length > 0
  ) {
    return refuse("it does not have three parts");
  }
  const header = readObject(headerText);
  const claims = readObject(claimsText);
  const signature = decodeBase64Url(signatureText);
  if (header === null || claims === null || signature === null) {
    return refuse("its parts are not base64url of JSON objects and a signature");
  }
  if (header.alg !== "HS256") return refuse("its alg is not HS256");
  if (header.crit !== undefined) return refuse("its header has crit");
  const signer = readKeyId(header.kid);
  if (signer === null) return refuse("its kid is not <account>:<base64 of the API token's name>");
  return { ok: true, value: { ...signer, signedText: `${headerText}.${claimsText}`, signature, claims } };
}

/** What a genuine JWT allows, or why it allows nothing (now). */
export function readRights({ account, claims }: ParsedJwt, nowMs: number): Read<JwtRights> {
  if (claims.sub !== undefined && claims.sub !== account)
    return refuse("its sub is not the account of its kid");
  if (claims.aud !== undefined) return refuse("it has an aud");
  const times = readTimes(claims, nowMs);
  if (!times.ok) return times;
  const models = readModels(claims);
  if (!models.ok) return models;
  const limit = claims.spending_limit ?? null;
  if (limit !== null && !isSpendingLimit(limit)) {
    return refuse(`its spending_limit is not a number above 0 and up to ${maxSpendingLimitUsd}`);
  }
  return { ok: true, value: { expiresAtMs: times.value, models: models.value, spendingLimitUsd: limit } };
}

/** The two parts that are signed. `id` makes two JWTs of equal rights two, each with a limit of its own. */
export function composeJwt(wanted: JwtRights & { account: string; tokenName: string; id: string }): string {
  const { account, models } = wanted;
  const header = { alg: "HS256", typ: "JWT", kid: keyIdOf(account, wanted.tokenName) };
  const claims = {
    sub: account,
    exp: Math.floor(wanted.expiresAtMs / 1000),
    jti: wanted.id,
    ...(models === null ? {} : models.length === 1 ? { model: models[0] } : { models }),
    ...(wanted.spendingLimitUsd === null ? {} : { spending_limit: wanted.spendingLimitUsd }),
  };
  return [header, claims].map((part) => encodeBase64Url(JSON.stringify(part))).join(".");
}

export function keyIdOf(account: string, tokenName: string): string {
  return `${account}:${btoa(binaryOf(tokenName))}`;
}

function readTimes(claims: ParsedJwt["claims"], nowMs: number): Read<number> {
  const [exp, iat, nbf] = [claims.exp ?? null, claims.iat ?? null, claims.nbf ?? null];
  if (![exp, iat, nbf].every((time) => time === null || isTime(time))) {
    return refuse("its exp, iat or nbf is not a time in seconds");
  }
  const latestMs = nowMs + clockSkewMs;
  if (isTime(iat) && iat * 1000 > latestMs) return refuse("its iat is in the future");
  if (isTime(nbf) && nbf * 1000 > latestMs) return refuse("its nbf is in the future");
  // Without either it would live for ever, or a year from each look at it.
  if (!isTime(exp) && !isTime(iat)) return refuse("it has neither exp nor iat");
  const expiresAtMs = isTime(exp) ? exp * 1000 : (Number(iat) + defaultLifetimeS) * 1000;
  return expiresAtMs > nowMs ? { ok: true, value: expiresAtMs } : refuse("it has expired");
}

function readModels(claims: ParsedJwt["claims"]): Read<readonly string[] | null> {
  const [one, several] = [claims.model ?? null, claims.models ?? null];
  if (one !== null && several !== null) return refuse("it has both model and models");
  if (one === null && several === null) return { ok: true, value: null };
  const given: unknown = several ?? one;
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  const names = list.filter((name) => typeof name === "string" && name.length > 0 && name.length <= 256);
  if (names.length !== list.length || list.length === 0 || list.length > maxJwtModels) {
    return refuse(`its model or models is not 1 to ${maxJwtModels} names of models`);
  }
  return { ok: true, value: names as string[] };
}

export function isSpendingLimit(value: unknown): value is number {
  return typeof value === "number" && value > 0 && value <= maxSpendingLimitUsd;
}

/** Up to the year 9999, so that milliseconds of it stay exact. */
function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value < 253_402_300_800;
}

/** An account's name has no colon, but ids of DeepInfra's have; base64 has none. */
function readKeyId(kid: unknown): { account: string; tokenName: string } | null {
  if (typeof kid !== "string") return null;
  const colon = kid.lastIndexOf(":");
  const base64 = kid.slice(colon + 1).replace(/=+$/, "");
  const bytes = decodeBase64Url(base64.replaceAll("+", "-").replaceAll("/", "_"));
  const tokenName = bytes === null ? null : textOf(bytes);
  return colon < 1 || tokenName === null ? null : { account: kid.slice(0, colon), tokenName };
}

function readObject(part: string): Record<string, unknown> | null {
  const bytes = decodeBase64Url(part);
  const text = bytes === null ? null : textOf(bytes);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null; // no JSON: the caller refuses it
  }
}

/** Null unless it is written in the one way that encoding gives: another spelling would pass for another JWT. */
function decodeBase64Url(text: string): Uint8Array | null {
  if (!/^[\w-]+$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return toBase64Url(binary) === text ? Uint8Array.from(binary, (char) => char.charCodeAt(0)) : null;
}

export function encodeBase64Url(value: string | Uint8Array): string {
  return toBase64Url(typeof value === "string" ? binaryOf(value) : String.fromCharCode(...value));
}

function toBase64Url(binary: string): string {
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function binaryOf(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null; // not UTF-8: the caller refuses it
  }
}

function refuse(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
