/**
 * The cache on disk, in the layout of Python's huggingface_hub, so that its tools and the engines find what Berth
 * fetched: `models--o--n/{blobs/<hash>, refs/<revision>, snapshots/<commit>/<path> -> blob}` and `.locks/`. A blob has
 * its name only after it was verified and synced; everything else here relies on that. Must not use the network.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import {
  type FileHandle,
  mkdir,
  open,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { repoFolder } from "./names.ts";
import { dropRecord, readBootId, readRecord } from "./record.ts";

/** The part of the disk that tests replace. */
export type Disk = {
  /** Bytes that an ordinary user may still write where `folder` is. */
  freeBytes(folder: string): Promise<number>;
};

export const realDisk: Disk = {
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

/** `repo` is `owner/name`, `blob` a name from `blobName`: whoever calls has checked them. */
export class Cache {
  /** Created when something is first written. */
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  blobPath(repo: string, blob: string): string {
    return join(this.#folderOf(repo), "blobs", blob);
  }

  lockPath(repo: string, blob: string): string {
    return join(this.root, ".locks", repoFolder(repo), `${blob}.lock`);
  }

  snapshotPath(repo: string, commit: string): string {
    return join(this.#folderOf(repo), "snapshots", commit);
  }

  /** True when the blob is there with that length: then it was verified before it got its name. */
  async hasBlob(repo: string, blob: string, bytes: number): Promise<boolean> {
    return (await sizeOf(this.blobPath(repo, blob))) === bytes;
  }

  /** Bytes `start` to `end` of a blob, null when it is not there with that length. */
  async readRange(
    repo: string,
    blob: string,
    start: number,
    end: number,
    fileBytes: number,
  ): Promise<Uint8Array | null> {
    if (!(await this.hasBlob(repo, blob, fileBytes))) return null;
    const handle = await open(this.blobPath(repo, blob), constants.O_RDONLY);
    try {
      const buffer = Buffer.alloc(end - start);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, start);
      return bytesRead === buffer.length ? buffer : null;
    } finally {
      await handle.close();
    }
  }

  /** What a download that began earlier left of a blob of `bytes` bytes, and how much of it was once reported. */
  async incompleteBytes(
    repo: string,
    blob: string,
    bytes: number,
  ): Promise<{ readonly onDisk: number; readonly shown: number }> {
    const size = (await sizeOf(this.#incompletePath(repo, blob))) ?? 0;
    const { done, shown } = readRecord(this.recordPath(repo, blob), bytes, size, readBootId());
    return { onDisk: done.bytes, shown: Math.max(shown, done.bytes) };
  }

  /** Where the growing file's record is: which ranges of it are there. */
  recordPath(repo: string, blob: string): string {
    return `${this.blobPath(repo, blob)}.berth-ranges.incomplete`;
  }

  /** Bytes from the start of a blob of `bytes` bytes that a download under way has brought without a gap. */
  async arrivedBytes(repo: string, blob: string, bytes: number): Promise<number> {
    const size = (await sizeOf(this.#incompletePath(repo, blob))) ?? 0;
    const { done } = readRecord(this.recordPath(repo, blob), bytes, size, readBootId());
    // Looked at last: when the file gets its name, what was known of its growth is forgotten.
    return (await this.hasBlob(repo, blob, bytes)) ? bytes : done.prefix;
  }

  /** Opens the growing file of a blob for reading; null when there is none. */
  async openArriving(repo: string, blob: string): Promise<FileHandle | null> {
    return await open(this.#incompletePath(repo, blob), constants.O_RDONLY | constants.O_NOFOLLOW).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      },
    );
  }

  /** Opens the growing file of a blob, keeping what is in it. */
  async openIncomplete(repo: string, blob: string): Promise<FileHandle> {
    const path = this.#incompletePath(repo, blob);
    await mkdir(dirname(path), { recursive: true });
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
  }

  async dropIncomplete(repo: string, blob: string): Promise<void> {
    await rm(this.#incompletePath(repo, blob), { force: true });
    await dropRecord(this.recordPath(repo, blob));
  }

  /** Gives a verified file its name. The caller has synced its bytes. */
  async promote(repo: string, blob: string): Promise<void> {
    const path = this.blobPath(repo, blob);
    await rename(this.#incompletePath(repo, blob), path);
    await syncFolder(dirname(path));
    await dropRecord(this.recordPath(repo, blob));
  }

  /** Makes `path` of the commit point to the blob, replacing whatever else was there. */
  async link(repo: string, commit: string, path: string, blob: string): Promise<void> {
    const place = join(this.#folderOf(repo), "snapshots", commit, path);
    const target = relative(dirname(place), this.blobPath(repo, blob));
    if ((await readlink(place).catch(() => null)) === target) return;
    await mkdir(dirname(place), { recursive: true });
    const fresh = this.#freshPath(repo);
    await symlink(target, fresh);
    await rename(fresh, place);
    await syncFolder(dirname(place));
  }

  /**
   * Remembers which commit a branch or tag stands for, as Python's tools look it up when they are offline. Where an
   * older name is in the way (`a` of `a/b`), it stays: Berth itself never reads this.
   */
  async putRef(repo: string, revision: string, commit: string): Promise<void> {
    const path = join(this.#folderOf(repo), "refs", revision);
    if ((await readFile(path, "utf8").catch(() => null)) === commit) return;
    await this.prepare();
    const fresh = this.#freshPath(repo);
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(fresh, commit, { flush: true });
      await rename(fresh, path);
    } catch (error) {
      await rm(fresh, { force: true });
      const code = (error as NodeJS.ErrnoException).code ?? "";
      if (!["EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY"].includes(code)) throw error;
    }
  }

  async prepare(): Promise<void> {
    try {
      await mkdir(this.root, { recursive: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      // On a read-only disk Node looks for the missing folder and reports that; the plain call says what is the matter.
      await mkdir(this.root);
    }
  }

  #folderOf(repo: string): string {
    return join(this.root, repoFolder(repo));
  }

  /** Where a blob grows until it is whole: with holes, so not under the name that Python's client would continue. */
  #incompletePath(repo: string, blob: string): string {
    return `${this.blobPath(repo, blob)}.berth.incomplete`;
  }

  /** A name nobody else uses, on the same disk: what is made there is renamed to where it belongs. */
  #freshPath(repo: string): string {
    return join(this.#folderOf(repo), `.tmp-${randomUUID()}`);
  }
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  }
}

/** A rename survives a power cut only once its folder is synced. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
