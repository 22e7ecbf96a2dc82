/**
 * What is known of a growing file, in a small file beside it: which ranges are on disk, and which of them even survive a
 * power cut. Lines are only ever added, each after the bytes it speaks of were written, so a process killed at any
 * moment leaves a record that promises too little, never too much. The machine going down is another matter: what was
 * not synced then does not count. Owns this file and its form; the hash at the end decides whether it told the truth.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { type Range, RangeSet } from "./ranges.ts";

/** Longer records are not read: nothing of ours writes one. */
const maxRecordBytes = 64 * 1024 * 1024;
const line = /^(done|durable) (\d{1,16}) (\d{1,16})$/;

export type Remembered = {
  /** Ranges that an earlier download wrote. */
  readonly done: RangeSet;
  /** Bytes that somebody was told were there, also if they had to be thrown away since. */
  readonly shown: number;
};

/**
 * @param bytes length of the whole file
 * @param onDisk length of the growing file now: nothing beyond it is believed
 * @param bootId of the running machine, null when it cannot be known
 */
export function readRecord(path: string, bytes: number, onDisk: number, bootId: string | null): Remembered {
  const text = readText(path);
  const [head = "", ...lines] = text.split("\n");
  const [, total, boot, shown] = /^berth-ranges 1 (\d{1,16}) (\S+) (\d{1,16})$/.exec(head) ?? [];
  if (Number(total) !== bytes) return { done: new RangeSet(), shown: 0 };
  const isSameBoot = bootId !== null && boot === bootId;
  const done = new RangeSet();
  for (const one of lines) {
    const [, kind, from, to] = line.exec(one) ?? [];
    const [start, end] = [Number(from), Math.min(Number(to), onDisk, bytes)];
    if (end > start && (isSameBoot || kind === "durable")) done.add({ start, end });
  }
  return { done, shown: Math.min(bytes, Number(shown)) };
}

function readText(path: string): string {
  try {
    const content = readFileSync(path);
    return content.length > maxRecordBytes ? "" : content.toString("latin1");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** The record of a download under way. Writes are small and synchronous: they order themselves after the bytes. */
export class RangeRecord {
  readonly #path: string;
  readonly #head: (shown: number) => string;
  #file: number;

  /** Begins the record anew with what is known. */
  constructor(path: string, bytes: number, bootId: string | null, done: RangeSet, shown: number) {
    this.#path = path;
    this.#head = (already) => `berth-ranges 1 ${bytes} ${bootId ?? "-"} ${already}\n`;
    this.#file = this.#begin(done, shown);
  }

  add({ start, end }: Range): void {
    writeSync(this.#file, `done ${start} ${end}\n`);
  }

  /** These ranges have been synced. */
  addDurable(ranges: readonly Range[]): void {
    writeSync(this.#file, ranges.map(({ start, end }) => `durable ${start} ${end}\n`).join(""));
  }

  /** Forgets everything but `done`. */
  replace(done: RangeSet, shown: number): void {
    closeSync(this.#file);
    this.#file = this.#begin(done, shown);
  }

  close(): void {
    closeSync(this.#file);
  }

  /** The new record takes the old one's place in one step: there is always one, and it is whole. */
  #begin(done: RangeSet, shown: number): number {
    const fresh = `${this.#path}.new`;
    const lines = done.list().map(({ start, end }) => `done ${start} ${end}\n`);
    writeFileSync(fresh, `${this.#head(shown)}${lines.join("")}`, { mode: 0o644 });
    renameSync(fresh, this.#path);
    return openSync(this.#path, "a");
  }
}

export async function dropRecord(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(`${path}.new`, { force: true });
}

/** Changes with each start of the machine; null where the system does not tell. */
export function readBootId(): string | null {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    // Not Linux: what was not synced is then never believed by a later process.
    return null;
  }
}
