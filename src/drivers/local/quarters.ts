/**
 * What an engine is given of the machine, whichever walls are around it: its weights to read, its own folder and its socket's to
 * write, all of it belonging to the user that it becomes. Makes what has to be there; builds no walls.
 */
import { chown, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Launch } from "../../ports/engine.ts";
import { type Cover, userOf } from "./confine.ts";
import { findWeights, letRead } from "./readable-weights.ts";

/** The parts of an instance's folder that its engine may see or needs around it. */
export type Quarters = {
  readonly instanceId: string;
  readonly launch: Launch;
  /** The instance's folder; only Berth's, but for `folder` in it. */
  readonly outer: string;
  /** Where the engine works. */
  readonly folder: string;
  /** Where its socket will be, its alone. */
  readonly socketFolder: string;
  /** Folder of the weights' snapshot. */
  readonly snapshotPath: string;
};

export type Furnished = {
  /** Folders of the weights. */
  readonly reads: readonly string[];
  /** Single files that are shown in place of others. */
  readonly covers: readonly Cover[];
  readonly writes: readonly string[];
};

/** The user and group that an engine becomes: one of its own where Berth is root, null where it keeps Berth's. */
export function engineUser(instanceId: string): number | null {
  return process.getuid?.() === 0 ? userOf(instanceId) : null;
}

/** @param home where what cannot be read may be changed */
export async function furnish(
  { launch, outer, folder, socketFolder, snapshotPath }: Quarters,
  { home, user }: { readonly home: string; readonly user: number | null },
): Promise<Furnished> {
  const weights = await findWeights(snapshotPath);
  const shown =
    user === null
      ? { reads: weights.folders, covers: [] }
      : await letRead(weights, { home, stand: join(outer, "stand") });
  const writes = [folder, socketFolder, ...(launch.writes ?? [])];
  if (user !== null) await give(writes, user);
  return { ...shown, writes };
}

/** Gives folders and the files in them to a user. */
export async function give(folders: readonly string[], user: number): Promise<void> {
  for (const folder of folders) {
    await chown(folder, user, user);
    for (const name of await readdir(folder)) await chown(join(folder, name), user, user);
  }
}
