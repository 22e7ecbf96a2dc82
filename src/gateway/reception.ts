/**
 * Receives the requests of the public port. Each is a visit from its first line to its end: it is served by whoever serves
 * its path, has an answer whatever goes wrong, and leaves a record when it is over. Owns which visits are under way and
 * cuts those that take too long; must not know what is behind a path.
 */
import { HttpError } from "../schema/errors.ts";
import { sendError } from "./answer.ts";
import type { Trust } from "./client-address.ts";
import { answerCors } from "./cors.ts";
import type { HttpRequest } from "./http/request.ts";
import type { HttpResponse } from "./http/response.ts";
import type { Clock, Log } from "./options.ts";
import { isProbe, type RequestRecord } from "./record.ts";
import { tooLong } from "./refusals.ts";
import { errorBodyOf, findRoute, type Route } from "./routes.ts";
import { ClientLeft, openVisit, type Visit } from "./visit.ts";

export type ReceptionOptions = {
  readonly isTls: boolean;
  readonly isTrusted: Trust;
  /** Origins of web pages that may call, `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Longest time of a visit, milliseconds: what one that took longer is told. */
  readonly totalMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds of a clock that is never set. */
  uptime(): number;
  /** Throws, or rejects, with what the client is to be told. */
  serve(visit: Visit, route: Route): void | Promise<void>;
  /** Hears of each visit once, when it is over. */
  onRecord(record: RequestRecord): void;
};

export class Reception {
  readonly #options: ReceptionOptions;
  readonly #visits = new Set<Visit>();
  #isClosing = false;
  #onQuiet: (() => void) | null = null;

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  /** Serves and, whatever goes wrong, answers. Never throws. */
  receive(request: HttpRequest, response: HttpResponse): void {
    const { isTls, isTrusted, now, corsOrigins, serve } = this.#options;
    // The client's end and ours come in either order; what was used is known only after both.
    let ends = 0;
    const finish = () => {
      ends += 1;
      if (ends === 2) this.close(visit);
    };
    const visit = openVisit(request, response, { isTls, isTrusted, now, onEnd: finish });
    this.open(visit);
    if (this.#isClosing) response.keepsAlive = false;
    const cors = answerCors(corsOrigins, request.method, request.headers);
    for (const [name, value] of cors.headers) response.setHeader(name, value);
    if (cors.isPreflight) {
      response.send(204, []);
      finish();
      return;
    }
    const route = findRoute(request.url);
    const fail = (error: unknown) => {
      const isClientGone = error instanceof ClientLeft || visit.signal.reason instanceof ClientLeft;
      if (!isClientGone) this.#answerError(visit, route, error);
      finish();
    };
    try {
      const served = serve(visit, route);
      if (served === undefined) finish();
      else void served.then(finish, fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Another visit begins, one that no client waits for. */
  open(visit: Visit): void {
    this.#visits.add(visit);
  }

  /** A visit is over. */
  close(visit: Visit): void {
    this.#visits.delete(visit);
    if (this.#visits.size === 0) this.#onQuiet?.();
    this.#log(visit.record);
    this.#options.onRecord(visit.record);
  }

  /** One look at all visits is cheaper than a timer for each. */
  cutOverdue(): void {
    const uptimeMs = this.#options.uptime();
    for (const visit of this.#visits)
      if (visit.dueAtMs <= uptimeMs) visit.cut(tooLong(this.#options.totalMs));
  }

  /** From now on a connection ends with its answer. */
  keepNoConnections(): void {
    this.#isClosing = true;
    for (const { response } of this.#visits) if (!response.headersSent) response.keepsAlive = false;
  }

  cutAll(reason: HttpError): void {
    for (const visit of this.#visits) visit.cut(reason);
  }

  /** Waits until nothing is under way, at most `ms`. */
  async quiet(ms: number): Promise<void> {
    if (this.#visits.size === 0) return;
    const waiting = new AbortController();
    this.#onQuiet = () => waiting.abort();
    await this.#options.clock.sleep(ms, waiting.signal).catch(() => undefined); // aborted: it is quiet
  }

  #answerError(visit: Visit, route: Route, error: unknown): void {
    const { requestId, record, response } = visit;
    if (!(error instanceof HttpError)) {
      this.#options.log("error", "a request failed on a defect", {
        requestId,
        error: String((error as Error)?.stack ?? error),
      });
    }
    const known =
      error instanceof HttpError
        ? error
        : new HttpError(
            "internal",
            `Something went wrong inside Berth. Its log has the details under ${requestId}.`,
          );
    record.error = known.code;
    if (response.headersSent) response.destroy();
    else sendError(response, known, errorBodyOf(route));
  }

  #log(record: RequestRecord): void {
    const { method, path, status, durationMs } = record;
    const fields = record.error === null ? { request: record } : { request: record, error: record.error };
    this.#options.log(
      isProbe(record) ? "debug" : "info",
      `${method} ${path} ${status} ${durationMs} ms`,
      fields,
    );
  }
}
