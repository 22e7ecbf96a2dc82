/**
 * What is written in one turn of the event loop goes out at its end, behind each other: a receiver is woken once for all of
 * it, where it would else fall asleep and be woken again between any two writes, which costs a busy gateway more than the
 * writes themselves. Nothing waits longer than for what has come already. Owns the moment; must not know what is written.
 */

/** Something with text that has not been handed to the system. */
export type Unsent = { flush(): void };

export class TurnEnd {
  #unsent: Unsent[] = [];

  /** Flushes it at the end of this turn. Once a turn and receiver is enough. */
  add(one: Unsent): void {
    if (this.#unsent.push(one) === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const one of unsent) one.flush();
  }
}
