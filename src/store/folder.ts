/** The folder that holds the state: makes it private and makes new names in it durable. Must not look into files. */
import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { StoreError } from "./error.ts";

/** Makes the folder and its parents, mode 0700; one that exists keeps its rights, since it may hold other things. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StoreError(
      `The folder ${folder} cannot be made (${(error as Error).message}). Set BERTH_HOME to a folder that you may write to.`,
      { cause: error },
    );
  }
}

/** A new name in a folder survives a loss of power only after the folder itself was synced. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
