/**
 * How many connections there are, and whether there is room for more. Pure. There is room again only when a tenth has left,
 * so that it is not said at each. Must not know sockets.
 */

const roomAgainShare = 0.9;

export class ConnectionRoom {
  readonly #most: number;
  readonly #onChange: (hasRoom: boolean) => void;
  #count = 0;
  #hasRoom = true;

  constructor(most: number, onChange: (hasRoom: boolean) => void) {
    this.#most = most;
    this.#onChange = onChange;
  }

  /** More have come than may be. */
  get isExceeded(): boolean {
    return this.#count > this.#most;
  }

  enter(): void {
    this.#count += 1;
    if (this.#hasRoom && this.#count >= this.#most) this.#tell(false);
  }

  leave(): void {
    this.#count -= 1;
    // Below the limit at the least: one that is told there is room must have some.
    if (!this.#hasRoom && this.#count <= Math.min(this.#most - 1, Math.floor(this.#most * roomAgainShare)))
      this.#tell(true);
  }

  #tell(hasRoom: boolean): void {
    this.#hasRoom = hasRoom;
    this.#onChange(hasRoom);
  }
}
