/**
 * Which of the processes that share a port take new connections. They accept by themselves, whoever comes first, so that one
 * may have as many as it can hold while others have room: it rests then, and what comes is left to them. Where none has room all
 * are to listen again, since somebody has to say so to who comes. Owns who rests; must not know how many connections anybody has.
 */
import { Socket } from "node:net";
import { type Hearer, tell } from "./members.ts";

/** As much of a child process as is needed. */
export type Listener = Hearer & {
  send(
    message: { readonly type: "listen" },
    port: Socket,
    options: { readonly keepOpen: true },
    callback: (error: Error | null) => void,
  ): boolean;
};

export class PortShare {
  readonly #fd: number;
  /** Those that serve, and whether they rest. */
  readonly #rests = new Map<Listener, boolean>();
  readonly #full = new Set<Listener>();
  /** What the port travels in: a socket that is never read nor written, and never closed, since the descriptor is others'. */
  #carrier: Socket | null = null;

  /** @param fd the port, open for as long as anybody is told of it */
  constructor(fd: number) {
    this.#fd = fd;
  }

  serves(child: Listener): void {
    if (!this.#rests.has(child)) this.#rests.set(child, false);
    this.#settle();
  }

  /** A process has as many connections as it may, and rests, or has room again. */
  hasRoom(child: Listener, hasRoom: boolean): void {
    if (hasRoom) this.#full.delete(child);
    else {
      this.#full.add(child);
      if (this.#rests.has(child)) this.#rests.set(child, true);
    }
    this.#settle();
  }

  /** It takes no more connections for good. */
  leaves(child: Listener): void {
    this.#full.delete(child);
    if (this.#rests.delete(child)) this.#settle();
  }

  #settle(): void {
    const isRoomSomewhere = [...this.#rests.keys()].some((child) => !this.#full.has(child));
    for (const [child, rests] of this.#rests) {
      const shallRest = isRoomSomewhere && this.#full.has(child);
      if (shallRest === rests) continue;
      this.#rests.set(child, shallRest);
      if (shallRest) tell(child, { type: "rest" });
      else this.#giveBack(child);
    }
  }

  /** A process that rests has closed the port: it has to be handed over anew. */
  #giveBack(child: Listener): void {
    if (!child.connected) return; // its end is noticed
    this.#carrier ??= new Socket({ fd: this.#fd, readable: false, writable: false }).unref();
    child.send({ type: "listen" }, this.#carrier, { keepOpen: true }, () => undefined);
  }
}
