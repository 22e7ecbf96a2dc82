/**
 * Lets an engine that is a user of its own read its weights, and nothing more: the files of Berth's own cache are made
 * readable (nobody else can enter it), others are left as they are. A folder that such a user cannot enter is shown by a
 * stand-in with the same names, over which the files are put one by one.
 */
import { chmod, mkdir, opendir, realpath, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { FailureError, failure } from "../../core/failure.ts";
import type { Cover } from "./confine.ts";

/** A snapshot has some hundred files at most; a local folder might have anything. */
const maxFiles = 20_000;

export type Weights = {
  /** The snapshot, its folders, and those that links in it lead to. */
  readonly folders: readonly string[];
  /** Files as the snapshot has them, and what each leads to. */
  readonly files: readonly { readonly path: string; readonly real: string }[];
  readonly snapshotPath: string;
};

export async function findWeights(snapshotPath: string): Promise<Weights> {
  const folders = new Set([snapshotPath]);
  const files: { path: string; real: string }[] = [];
  for await (const entry of await opendir(snapshotPath, { recursive: true })) {
    if (files.length === maxFiles) throw new Error(`${snapshotPath} has more than ${maxFiles} files.`);
    const path = join(entry.parentPath, entry.name);
    const real = await realpath(path);
    const isFolder = (await stat(real)).isDirectory();
    folders.add(isFolder ? real : dirname(real));
    if (!isFolder) files.push({ path, real });
  }
  return { folders: [...folders], files, snapshotPath };
}

/**
 * @param home where what cannot be read may be changed
 * @param stand a folder for stand-ins, made where it is needed
 * @throws FailureError for a file that cannot be read, and is not in `home`
 */
export async function letRead(
  weights: Weights,
  { home, stand }: { readonly home: string; readonly stand: string },
): Promise<{ reads: string[]; covers: Cover[] }> {
  const isOwn = (path: string) => path.startsWith(`${home}/`);
  for (const path of [...weights.folders, ...weights.files.map(({ real }) => real)].filter(isOwn)) {
    const { mode, needed } = await rightsOf(path);
    if ((mode & needed) !== needed) await chmod(path, (mode & 0o7777) | needed);
  }
  const closed: string[] = [];
  for (const folder of weights.folders) {
    const { mode, needed } = await rightsOf(folder);
    if ((mode & needed) !== needed) closed.push(folder);
  }
  if (closed.length === 0 && (await unreadable(weights.files)) === null) {
    return { reads: [...weights.folders], covers: [] };
  }
  return { reads: [], covers: await standIn(weights, stand) };
}

async function rightsOf(path: string): Promise<{ mode: number; needed: number }> {
  const info = await stat(path);
  return { mode: info.mode, needed: info.isDirectory() ? 0o5 : 0o4 };
}

/** The first that other users cannot read, null for none. */
async function unreadable(files: Weights["files"]): Promise<string | null> {
  for (const { real } of files) {
    const { mode, needed } = await rightsOf(real);
    if ((mode & needed) !== needed) return real;
  }
  return null;
}

/** A folder of empty files in the snapshot's place, each covered by what it stands for. */
async function standIn({ files, snapshotPath }: Weights, stand: string): Promise<Cover[]> {
  const closed = await unreadable(files);
  if (closed !== null) {
    throw new FailureError(
      failure(
        "storage_failed",
        `${closed} cannot be read by the user that the engine would run as.`,
        "Let others read it (chmod o+r); the folder it is in may stay closed. Or set BERTH_ISOLATION=off.",
      ),
    );
  }
  await mkdir(stand, { recursive: true, mode: 0o755 });
  for (const { path } of files) {
    const place = join(stand, relative(snapshotPath, path));
    await mkdir(dirname(place), { recursive: true, mode: 0o755 });
    await writeFile(place, "", { mode: 0o444 });
  }
  const covers = files.map(({ path, real }) => ({ source: real, at: path }));
  return [{ source: stand, at: snapshotPath }, ...covers];
}
