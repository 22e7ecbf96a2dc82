/**
 * Work that several callers want at once, done once: the first one starts it, the others join, and it is aborted when
 * the last one has left. Owns nothing but what is under way now; must not remember results.
 */

type Flight<Event> = {
  readonly listeners: Set<(event: Event) => void>;
  readonly abort: AbortController;
  readonly landed: Promise<void>;
  last: Event | null;
};

export type Flights<Event> = {
  /**
   * Joins the flight `key`, or starts it. `listener` gets the events from now on, beginning with the last one.
   * Rejects with the signal's reason when aborted; if nobody else is aboard, only after the work has wound down.
   */
  join(
    key: string,
    listener: (event: Event) => void,
    signal: AbortSignal,
    work: (emit: (event: Event) => void, signal: AbortSignal) => Promise<void>,
  ): Promise<void>;
};

export function createFlights<Event>(): Flights<Event> {
  const flights = new Map<string, Flight<Event>>();

  function start(
    key: string,
    work: (emit: (event: Event) => void, signal: AbortSignal) => Promise<void>,
  ): Flight<Event> {
    const abort = new AbortController();
    const listeners = new Set<(event: Event) => void>();
    const emit = (event: Event) => {
      flight.last = event;
      for (const listener of listeners) listener(event);
    };
    const flight: Flight<Event> = {
      listeners,
      abort,
      last: null,
      // On a later turn, so that `flight` exists when the first event comes.
      landed: Promise.resolve()
        .then(() => work(emit, abort.signal))
        .finally(() => forget(key, flight)),
    };
    flights.set(key, flight);
    return flight;
  }

  function forget(key: string, flight: Flight<Event>): void {
    if (flights.get(key) === flight) flights.delete(key);
  }

  return {
    async join(key, listener, signal, work) {
      signal.throwIfAborted();
      const flight = flights.get(key) ?? start(key, work);
      if (flight.last !== null) listener(flight.last);
      flight.listeners.add(listener);
      const { promise: left, reject: leave } = Promise.withResolvers<never>();
      const onAbort = () => leave(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        await Promise.race([flight.landed, left]);
      } catch (error) {
        flight.listeners.delete(listener);
        if (signal.aborted && flight.listeners.size === 0) {
          forget(key, flight);
          flight.abort.abort(signal.reason);
          await Promise.allSettled([flight.landed]);
        }
        throw signal.aborted ? signal.reason : error;
      } finally {
        signal.removeEventListener("abort", onAbort);
        flight.listeners.delete(listener);
      }
    },
  };
}
