/**
 * The words and waits of those who are not let in: which limit it was, and when to come back. Pure. Must not decide whom
 * to refuse (gate.ts does).
 */
import type { Exceeded } from "../core/rate-limit.ts";
import type { RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";

export type Named = Pick<RouteModel, "name" | "state" | "reason">;

/** Retry-After where nothing better is known, seconds. */
const fullRetryS = 2;
const wakeRetryS = 10;
const maxRetryS = 600;

export function modelGone(): HttpError {
  return new HttpError("model_not_found", "The model was deleted.", { param: "model" });
}

export function notReady(reason: string): HttpError {
  return new HttpError("model_not_ready", reason);
}

/** The line is full: in requests, or, where `requests` is null, in bytes. */
export function full(name: string, requests: number | null, bytes: number, waitMs: number | null): HttpError {
  const limit =
    requests === null
      ? `more than ${Math.round(bytes / 2 ** 20)} MB of requests waiting, of which one account may have half`
      : `${requests} requests waiting already, which is the limit`;
  return new HttpError("queue_full", `${name} has ${limit}. Try again later.`, {
    retryAfterS: retryS(waitMs, fullRetryS),
  });
}

export function tooLong(totalMs: number): HttpError {
  const text = `The request took longer than ${totalMs / 1000} s, which is the limit (BERTH_TOTAL_S). Ask for less at once.`;
  return new HttpError("timeout", text);
}

export function noSlot(name: string, waitMs: number | null): HttpError {
  const text = `${name} has no free slot, and the request asked not to wait (fail_fast). Try again later.`;
  return new HttpError("queue_full", text, { retryAfterS: retryS(waitMs, fullRetryS) });
}

export function rateLimited(
  name: string,
  whose: string,
  exceeded: Exceeded,
  retryMs: number | null,
): HttpError {
  const what = {
    concurrent_requests: "requests at once",
    requests_per_minute: "requests a minute",
    tokens_per_minute: "tokens a minute",
  }[exceeded.limit];
  const text = `${whose} may have ${exceeded.allowed} ${what} at ${name} (${exceeded.limit}). Try again later, or ask an administrator for more.`;
  return new HttpError("rate_limited", text, { retryAfterS: retryS(retryMs, fullRetryS) });
}

/** The turn would come after the time to wait is over. */
export function overloaded(name: string, waitMs: number, leftMs: number): HttpError {
  const text = `${name} is busy: a slot would be free in about ${seconds(waitMs)} s, and a request waits at most ${seconds(leftMs)} s. Try again later, or let more instances run.`;
  return new HttpError("overloaded", text, { retryAfterS: retryS(waitMs - leftMs, fullRetryS) });
}

/** It starts, and the request will not or cannot wait for that. */
export function notLoadedYet({ name }: Named, loadMs: number | null): HttpError {
  const when = loadMs === null ? "" : `; that takes about ${seconds(loadMs)} s more`;
  return new HttpError("model_not_ready", `${name} is being started${when}. Try again then.`, {
    retryAfterS: retryS(loadMs, wakeRetryS),
  });
}

/** The wait was too long. */
export function overdue({ name, state, reason }: Named, waitedMs: number, loadMs: number | null): HttpError {
  if (state === "ready") {
    const text = `${name} is busy: no slot became free within ${seconds(waitedMs)} s. Try again later, or let more instances run.`;
    return new HttpError("timeout", text, { retryAfterS: wakeRetryS });
  }
  const text = `${name} did not become ready within ${seconds(waitedMs)} s. ${reason} Try again in a while.`;
  return new HttpError("model_not_ready", text, { retryAfterS: retryS(loadMs, wakeRetryS) });
}

function seconds(ms: number): number {
  return Math.max(1, Math.round(ms / 1000));
}

function retryS(ms: number | null, otherwise: number): number {
  return ms === null ? otherwise : Math.min(maxRetryS, Math.max(1, Math.ceil(ms / 1000)));
}
