/**
 * One call to an engine, with its answer led to a sink and backpressure led back. Owns the wiring between socket, sink,
 * client and abort; must not decide what follows.
 */
import { HttpError } from "../schema/errors.ts";
import type { ResponseHead } from "./response-head.ts";
import type { CallFailure, CallRequest, EnginePool } from "./upstream.ts";
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
  onBody(): void;
};

/** Rejects with the signal's reason when that ends it, after cutting the connection. */
export function exchange(options: ExchangeOptions, { response, signal }: Visit): Promise<Outcome> {
  const { pool, request, sink, takesBusy, onBody } = options;
  return new Promise((resolve, reject) => {
    const settle = (outcome: Outcome) => {
      signal.removeEventListener("abort", leave);
      response.onDrain = null;
      resolve(outcome);
    };
    /** False, and the call is over, when the sink throws what it may. */
    const isTaken = (act: () => void): boolean => {
      try {
        act();
        return true;
      } catch (error) {
        call.abort();
        if (error instanceof BrokenOff) {
          settle({ kind: "failed", failure: { kind: "broken", detail: error.message } });
        } else if (error instanceof HttpError) settle({ kind: "unreadable", error });
        else {
          reject(error);
          settle({ kind: "done" }); // settled already: this only takes the listeners away
        }
        return false;
      }
    };
    const call = pool.call(request, {
      onHead(head) {
        if (head.status === 401 || (head.status === 503 && !takesBusy)) {
          call.abort();
          settle({ kind: head.status === 401 ? "locked" : "busy" });
        } else isTaken(() => sink.begin(head));
      },
      onBody(piece) {
        onBody();
        let goesOn = true;
        isTaken(() => {
          goesOn = sink.write(piece);
        });
        return goesOn;
      },
      onEnd() {
        if (isTaken(() => sink.end())) settle({ kind: "done" });
      },
      onFailure: (failure) => settle({ kind: "failed", failure }),
    });
    const resume = () => call.resume();
    const leave = () => {
      call.abort();
      reject(signal.reason);
      settle({ kind: "done" }); // settled already: this only takes the listeners away
    };
    response.onDrain = resume;
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
  });
}
