/**
 * The hash of a file that grows in several places at once: follows the part that is complete from the beginning, reading
 * it back from the page cache, so that little is left to do when the last byte arrives. Reads in small steps and lets
 * others have a turn between them. Must not write.
 */
import type { Hash } from "node:crypto";
import { readSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";

/** Small enough to stay in the processor's cache between reading and hashing. */
const stepBytes = 256 * 1024;
const stepsPerTurn = 8;

export class PrefixHash {
  readonly #file: number;
  readonly #size: number;
  readonly #hash: Hash;
  #at = 0;
  #complete = 0;
  #bell = Promise.withResolvers<void>();

  /** @param size length of the whole file, bytes */
  constructor(file: number, size: number, hash: Hash) {
    this.#file = file;
    this.#size = size;
    this.#hash = hash;
  }

  /** The first `bytes` of the file are there now. */
  follow(bytes: number): void {
    if (bytes <= this.#complete) return;
    this.#complete = bytes;
    this.#bell.resolve();
  }

  /** Resolves with the hash of the whole file once all of it was there and read; with the signal's reason when aborted. */
  async digest(signal: AbortSignal): Promise<string> {
    const buffer = Buffer.allocUnsafe(Math.min(stepBytes, Math.max(1, this.#size)));
    const wake = () => this.#bell.resolve();
    signal.addEventListener("abort", wake);
    try {
      while (this.#at < this.#size) {
        signal.throwIfAborted();
        if (this.#at === this.#complete) await this.#more();
        else {
          for (let step = 0; step < stepsPerTurn; step += 1) this.#step(buffer);
          await nextTurn();
        }
      }
      return this.#hash.digest("hex");
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  #step(buffer: Buffer): void {
    const wanted = Math.min(buffer.length, this.#complete - this.#at);
    if (wanted === 0) return;
    const bytes = readSync(this.#file, buffer, 0, wanted, this.#at);
    if (bytes === 0) throw new Error("a file that is being downloaded became shorter");
    this.#hash.update(buffer.subarray(0, bytes));
    this.#at += bytes;
  }

  async #more(): Promise<void> {
    await this.#bell.promise;
    this.#bell = Promise.withResolvers<void>();
  }
}
