/**
 * What ends everything done for one visit: as much of AbortSignal as is needed for that, without an EventTarget,
 * which is dear where each request needs one. An AbortSignal will do wherever a CancelSignal is asked for.
 */

export type CancelSignal = {
  readonly aborted: boolean;
  /** Why; only means something when aborted. */
  readonly reason: unknown;
  throwIfAborted(): void;
  /** The listener is called once at most, and not when it is aborted already. */
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
};

export class Cancel implements CancelSignal {
  aborted = false;
  reason: unknown = undefined;
  /** Two at most wait at a time: a list is looked through sooner than a set is made. */
  #listeners: (() => void)[] = [];

  /** The first call counts. */
  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (!this.aborted) this.#listeners.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at !== -1) this.#listeners.splice(at, 1);
  }
}
