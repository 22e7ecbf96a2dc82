/**
 * One call to an engine, with its answer led to a sink and backpressure led back. Owns the wiring between socket, sink,
 * client and abort; must not decide what follows.
 */
import { HttpError } from "../schema/errors.ts";
import type { CancelSignal } from "./cancel.ts";
import type { HttpResponse } from "./http/response.ts";
import type { RequestRecord } from "./record.ts";
import type { ResponseHead } from "./response-head.ts";
import type { CallEvents, CallFailure, CallRequest, EngineCall, EnginePool } from "./upstream.ts";
import type { Visit } from "./visit.ts";

/** Where an engine's answer goes. Throws HttpError for what it cannot make anything of. */
export type Sink = {
  begin(head: ResponseHead): void;
  /** False when the client has fallen behind: wait for the response's `onDrain`. */
  write(piece: Buffer): boolean;
  /** Throws BrokenOff when the answer cannot have been complete. */
  end(): void;
};

/** The engine ended its answer in order, but in the middle. */
export class BrokenOff extends Error {}

export type Outcome =
  | { readonly kind: "done" }
  /** The engine has no slot after all. */
  | { readonly kind: "busy" }
  /** The engine does not know Berth's secret. */
  | { readonly kind: "locked" }
  | { readonly kind: "failed"; readonly failure: CallFailure }
  | { readonly kind: "unreadable"; readonly error: HttpError };

export type ExchangeOptions = {
  readonly pool: EnginePool;
  readonly request: CallRequest;
  readonly sink: Sink;
  /** Pass a 503 on to the client rather than report "busy". */
  readonly takesBusy: boolean;
  /** Its first byte's time is noted there. */
  readonly record: RequestRecord;
  now(): number;
};

/** Rejects with the signal's reason when that ends it, after cutting the connection. */
export function exchange(options: ExchangeOptions, { response, signal }: Visit): Promise<Outcome> {
  return new Promise((resolve, reject) => new Exchange(options, response, signal, resolve, reject));
}

class Exchange implements CallEvents {
  readonly #options: ExchangeOptions;
  readonly #response: HttpResponse;
  readonly #signal: CancelSignal;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #reject: (error: unknown) => void;
  readonly #call: EngineCall;
  readonly #resume = () => this.#call.resume();
  readonly #leave = () => {
    this.#call.abort();
    this.#fail(this.#signal.reason);
  };

  constructor(
    options: ExchangeOptions,
    response: HttpResponse,
    signal: CancelSignal,
    resolve: (outcome: Outcome) => void,
    reject: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#response = response;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#call = options.pool.call(options.request, this);
    response.onDrain = this.#resume;
    signal.addEventListener("abort", this.#leave);
    if (signal.aborted) this.#leave();
  }

  onHead(head: ResponseHead): void {
    if (head.status === 401 || (head.status === 503 && !this.#options.takesBusy)) {
      this.#call.abort();
      this.#settle({ kind: head.status === 401 ? "locked" : "busy" });
      return;
    }
    try {
      this.#options.sink.begin(head);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  onBody(piece: Buffer): boolean {
    const { record, sink, now } = this.#options;
    record.firstByteMs ??= now() - record.startedAtMs;
    try {
      return sink.write(piece);
    } catch (error) {
      this.#giveUp(error);
      return true;
    }
  }

  onEnd(): void {
    try {
      this.#options.sink.end();
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    this.#settle({ kind: "done" });
  }

  onFailure(failure: CallFailure): void {
    this.#settle({ kind: "failed", failure });
  }

  /** The sink threw: the answer cannot be used. */
  #giveUp(error: unknown): void {
    this.#call.abort();
    if (error instanceof BrokenOff) {
      this.#settle({ kind: "failed", failure: { kind: "broken", detail: error.message } });
    } else if (error instanceof HttpError) this.#settle({ kind: "unreadable", error });
    else this.#fail(error);
  }

  #settle(outcome: Outcome): void {
    this.#forget();
    this.#resolve(outcome);
  }

  #fail(error: unknown): void {
    this.#forget();
    this.#reject(error);
  }

  #forget(): void {
    this.#signal.removeEventListener("abort", this.#leave);
    this.#response.onDrain = null;
  }
}
