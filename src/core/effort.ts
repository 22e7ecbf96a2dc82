/**
 * How much work may be put into looking at something that others have made: each step is paid for before it is made, so that no
 * input, however clever, takes longer than its budget. Owns the count; must not know what is looked at.
 */

/** There is nothing left to pay with. For whoever began to look: what it means is theirs to say. */
export class EffortSpent extends Error {}

export class Effort {
  #left: number;

  constructor(steps: number) {
    this.#left = steps;
  }

  /** Throws EffortSpent where it is more than is left. */
  pay(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw new EffortSpent("it takes too many steps");
  }
}
