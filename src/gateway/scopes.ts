/**
 * What this gateway knows of scoped JWTs: control's verdict on each, asked for on first sight and kept until the JWT
 * expires, its API token is gone from the routes, or others need the room; and what was spent since, here and in the gateway's other processes. Keeps hashes,
 * never a JWT. Bounded, for good ones and refused ones apart, so that a flood of forged ones drives out no good one.
 *
 * A spending limit is checked before a request: by control's records when the verdict was given, what the gateway has
 * spent since, and the routes, which name the JWTs that have spent their limit anywhere. What is under way is not cut.
 */
import { hash } from "node:crypto";
import { jwtPrefix, maxJwtChars, notGenuine, parseJwt } from "../core/jwt.ts";
import type { RouteToken, ScopeVerdict } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import type { Directory } from "./models.ts";

export type Scope = {
  readonly scopeId: string;
  /** Null for all models. */
  readonly models: readonly string[] | null;
  /** Says what a request came to, billionths of a US dollar. */
  spend(nanoUsd: number): void;
};

export type ScopeBook = {
  /** Another process of the gateway has spent this for a JWT. */
  spentElsewhere(scopeId: string, nanoUsd: number): void;
  /** What a JWT allows, and the token that signed it. Throws HttpError 401 when nothing, 402 when it has spent its limit. */
  find(jwt: string, directory: Directory): Promise<{ readonly scope: Scope; readonly parent: RouteToken }>;
};

/** Verdicts of either kind that are kept. */
const maxKept = 10_000;
/** How long a refusal counts: what is refused now may be good in a moment, as when its token is new. */
const refusalMs = 5_000;
/** Questions to control at once. */
const maxQuestions = 64;

type Granted = Extract<ScopeVerdict, { ok: true }> & { spentHereNanoUsd: number };
type Refused = { readonly reason: string; readonly untilMs: number };

export function createScopeBook(options: {
  now(): number;
  /** Rejects with an HttpError when control does not answer. */
  ask(jwt: string): Promise<ScopeVerdict>;
  /** Something was spent here for a JWT with a limit. */
  onSpent?(scopeId: string, nanoUsd: number): void;
}): ScopeBook {
  const granted = new Map<string, Granted>();
  const refused = new Map<string, Refused>();
  const questions = new Map<string, Promise<ScopeVerdict>>();

  async function learn(jwt: string, key: string, directory: Directory): Promise<Granted> {
    const parsed = parseJwt(jwt);
    if (!parsed.ok) throw notValid(parsed.reason);
    // Control need not be asked about an account that has no token.
    if (!directory.accounts.has(parsed.value.account)) throw notValid(notGenuine);
    const verdict = await (questions.get(key) ?? question(jwt, key));
    if (!verdict.ok) throw notValid(verdict.reason);
    // Of several requests that waited for one answer, the first has put it down.
    const known = granted.get(key);
    if (known !== undefined) return known;
    const entry = { ...verdict, spentHereNanoUsd: 0 };
    keep(granted, key, entry);
    return entry;
  }

  function question(jwt: string, key: string): Promise<ScopeVerdict> {
    if (questions.size >= maxQuestions) {
      throw new HttpError("control_away", "Too many scoped JWTs wait to be checked. Try again in a moment.", {
        retryAfterS: 1,
      });
    }
    const asked = options
      .ask(jwt)
      .then((verdict) => {
        if (!verdict.ok) {
          keep(refused, key, { reason: verdict.reason, untilMs: options.now() + refusalMs });
        }
        return verdict;
      })
      .finally(() => questions.delete(key));
    questions.set(key, asked);
    return asked;
  }

  /** What it allows, or why it allows nothing any more. */
  function open(entry: Granted, directory: Directory): Scope {
    const { scopeId, models, spendingLimitNanoUsd } = entry;
    checkSpending(entry, options.now(), directory);
    return {
      scopeId,
      models,
      spend(nanoUsd) {
        entry.spentHereNanoUsd += nanoUsd;
        if (spendingLimitNanoUsd !== null && nanoUsd > 0) options.onSpent?.(scopeId, nanoUsd);
      },
    };
  }

  return {
    spentElsewhere(scopeId, nanoUsd) {
      for (const entry of granted.values()) if (entry.scopeId === scopeId) entry.spentHereNanoUsd += nanoUsd;
    },
    async find(sent, directory) {
      const jwt = sent.startsWith(jwtPrefix) ? sent.slice(jwtPrefix.length) : sent;
      if (jwt.length > maxJwtChars) throw notValid(`it is longer than ${maxJwtChars} characters`);
      const key = hash("sha256", jwt, "base64");
      const refusal = refused.get(key);
      if (refusal !== undefined && options.now() < refusal.untilMs) throw notValid(refusal.reason);
      let entry = granted.get(key);
      if (entry === undefined) entry = await learn(jwt, key, directory);
      else keep(granted, key, entry); // the longest unused goes first
      return { scope: open(entry, directory), parent: parentOf(entry, directory) };
    },
  };
}

function checkSpending(entry: Granted, nowMs: number, directory: Directory): void {
  if (entry.expiresAtMs <= nowMs) throw notValid("it has expired");
  const limit = entry.spendingLimitNanoUsd;
  const spent = entry.spentNanoUsd + entry.spentHereNanoUsd;
  if (!directory.spentScopes.has(entry.scopeId) && (limit === null || spent < limit)) return;
  const dollars = limit === null ? "" : ` of $${limit / 1e9}`;
  throw new HttpError(
    "spending_limit_reached",
    `This scoped JWT has spent its limit${dollars}. Ask whoever gave it to you for another.`,
  );
}

function parentOf(entry: Granted, directory: Directory): RouteToken {
  const parent = directory.tokensById.get(entry.tokenId);
  if (parent?.account !== entry.account) throw notValid(notGenuine);
  return parent;
}

function notValid(reason: string): HttpError {
  return new HttpError("unauthenticated", `The scoped JWT is not valid: ${reason}. Ask for a new one.`);
}

/** Puts an entry last and drops the first when there are too many. */
function keep<T>(entries: Map<string, T>, key: string, entry: T): void {
  entries.delete(key);
  entries.set(key, entry);
  if (entries.size <= maxKept) return;
  for (const oldest of entries.keys()) {
    entries.delete(oldest);
    return;
  }
}
