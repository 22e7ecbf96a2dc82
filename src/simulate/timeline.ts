/** Virtual time: what is due next, in the order of its time and, within one, of being asked for. */

type Due = { readonly atMs: number; readonly order: number; readonly run: () => void };

export class Timeline {
  readonly #heap: Due[] = [];
  #order = 0;
  nowMs = 0;
  events = 0;

  at(atMs: number, run: () => void): void {
    const heap = this.#heap;
    let child = heap.length;
    this.#order += 1;
    const due = { atMs: Math.max(atMs, this.nowMs), order: this.#order, run };
    heap.push(due);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, due)) break;
      heap[child] = above;
      child = parent;
    }
    heap[child] = due;
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs + ms, run);
  }

  /** Lets the next thing happen; false when nothing is due until `endMs`. */
  step(endMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > endMs) return false;
    this.#pop();
    this.nowMs = next.atMs;
    this.events += 1;
    next.run();
    return true;
  }

  /** Lets everything happen that is due until then, and then it is that time. */
  runTo(atMs: number): void {
    while (this.step(atMs));
    this.nowMs = Math.max(this.nowMs, atMs);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let parent = 0;
    for (;;) {
      const left = heap[2 * parent + 1];
      const right = heap[2 * parent + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (isBefore(last, child)) break;
      heap[parent] = child;
      parent = 2 * parent + (isRight ? 2 : 1);
    }
    heap[parent] = last;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}
