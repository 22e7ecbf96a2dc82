/**
 * A lock that one process at a time holds and that ends with it, however it ends: a record lock of the system (fcntl)
 * on a file, taken through SQLite because Node itself offers none. Owns nothing but the file, which stays empty.
 */
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "../ports/clock.ts";

/** SQLITE_BUSY, https://www.sqlite.org/rescode.html. */
const busy = 5;

/** SQLite has no way to be called back when a lock is free. */
const pollMs = 50;

export type HeldLock = { release(): void };

/** Held until released, whatever the holder does with the handle: a collected database would give up its lock. */
const held = new Set<DatabaseSync>();

/**
 * Takes the lock without waiting; null when another process, or another caller in this one, holds it. Throws when the
 * file cannot be created or is something else. The same process must not open and close the file in any other way:
 * closing any descriptor of a file gives up all of a process's record locks on it.
 */
export function holdLock(path: string): HeldLock | null {
  const file = new DatabaseSync(path, { timeout: 0 });
  try {
    // In memory: what is never written needs no journal file beside it.
    file.exec("PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    file.close();
    if ((error as { errcode?: unknown }).errcode === busy) return null;
    throw error;
  }
  held.add(file);
  return {
    release() {
      if (held.delete(file)) file.close();
    },
  };
}

/** Takes the lock as soon as it is free; null when somebody still holds it after `waitMs`. */
export async function waitForLock(path: string, waitMs: number, clock: Clock): Promise<HeldLock | null> {
  const endsAtMs = clock.now() + waitMs;
  for (;;) {
    const lock = holdLock(path);
    if (lock !== null || clock.now() >= endsAtMs) return lock;
    await clock.sleep(pollMs);
  }
}
