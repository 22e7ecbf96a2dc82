/**
 * A lock between processes for one blob, so that two of them never write the same file and the second finds it whole.
 * Held by the kernel for as long as the process lives: nothing is left behind by `kill -9`. Node offers no file locks,
 * but SQLite takes one on an empty file when it is told to be exclusive; nothing is ever stored in that file.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "../ports/clock.ts";

const pollMs = 200;
const sqliteBusy = 5;

/**
 * Waits until no other process (and nobody else in this one) holds the lock, runs `action`, lets go.
 * Rejects with the signal's reason when aborted while waiting.
 */
export async function withLock<T>(
  path: string,
  clock: Clock,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  let held = tryLock(path);
  while (held === null) {
    await clock.sleep(pollMs, signal);
    held = tryLock(path);
  }
  try {
    return await action();
  } finally {
    held.close();
  }
}

function tryLock(path: string): DatabaseSync | null {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === sqliteBusy) return null;
    throw error;
  }
}
