/**
 * Looks after the cache: what is in it, what may go, whether it is still right. Owns the ledger and who is using which
 * blob now. In a cache that is shared with other programs it removes only what Berth wrote, and nothing counts before it
 * was verified once. Must not use the network.
 */
import { lstat, readdir, rm, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { planCollection, type StoredBlob } from "../core/collect.ts";
import type { RepoFile } from "../core/deployment.ts";
import type { CachedRepo, Damage, HubCache } from "../ports/hub-cache.ts";
import { hasNamedHash } from "./hash-file.ts";
import { type FoundBlob, type FoundRepo, readInventory } from "./inventory.ts";
import type { BlobRecord, Ledger } from "./ledger.ts";
import { blobName, repoFolder } from "./names.ts";

/** Files of a commit that a deployment is bound to. */
export type Need = { readonly repo: string; readonly commit: string; readonly files: readonly RepoFile[] };

export type KeeperOptions = {
  /** Folder of the cache. */
  readonly root: string;
  /** Other programs write there too. */
  readonly isShared: boolean;
  readonly ledger: Ledger;
  /** What deployments need now. */
  needs(): Promise<readonly Need[]>;
};

export class Keeper implements HubCache {
  readonly #options: KeeperOptions;
  /** Blobs that somebody fetches, checks or reads now, with how many do. */
  readonly #held = new Map<string, number>();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Nothing of these is removed until the returned function is called. */
  hold(repo: string, blobs: readonly string[]): () => void {
    const keys = blobs.map((blob) => `${repo} ${blob}`);
    for (const key of keys) this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const key of keys) {
        const left = (this.#held.get(key) ?? 1) - 1;
        if (left === 0) this.#held.delete(key);
        else this.#held.set(key, left);
      }
    };
  }

  /**
   * True when a blob is there and was verified: by the download that made it, or now. One that another program left
   * damaged is removed, so that it is fetched. The caller holds it.
   */
  async admit(
    repo: string,
    blob: string,
    bytes: number,
    usedAtMs: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const path = this.#blobPath(repo, blob);
    const file = await fileAt(path);
    if (file === null || file.bytes !== bytes) return false;
    const { ledger, isShared } = this.#options;
    const record = await ledger.read(repo, blob);
    if (record !== null && record.bytes === bytes && record.mtimeMs === file.mtimeMs) {
      await ledger.write(repo, blob, { ...record, usedAtMs });
      return true;
    }
    // In a cache of its own every blob was verified before it got its name.
    const isRight = !isShared || (await hasNamedHash(path, blob, () => undefined, signal));
    if (!isRight) {
      await rm(path, { force: true });
      return false;
    }
    const origin = isShared ? "found" : "berth";
    await ledger.write(repo, blob, { origin, bytes, mtimeMs: file.mtimeMs, usedAtMs });
    return true;
  }

  /** Notes a blob that a download has just brought and verified. */
  async noteBrought(repo: string, blob: string, usedAtMs: number): Promise<void> {
    const file = await fileAt(this.#blobPath(repo, blob));
    if (file === null) return;
    const { bytes, mtimeMs } = file;
    await this.#options.ledger.write(repo, blob, {
      origin: "berth",
      bytes,
      mtimeMs,
      usedAtMs,
    });
  }

  async repos(): Promise<readonly CachedRepo[]> {
    const needed = await this.#neededBlobs();
    const repos = await readInventory(this.#options.root);
    return await Promise.all(
      repos.map(async (found) => {
        const blobs = await this.#describe(found, needed);
        const sum = (some: readonly StoredBlob[]) => some.reduce((total, { bytes }) => total + bytes, 0);
        return {
          repo: found.repo,
          files: blobs.length,
          bytes: sum(blobs),
          ownBytes: sum(blobs.filter(({ isOwn }) => isOwn)),
          commits: [...found.snapshots.keys()].map((commit) => ({
            commit,
            refs: [...found.refs].flatMap(([ref, target]) => (target === commit ? [ref] : [])),
          })),
          usedAtMs: Math.max(0, ...blobs.map(({ usedAtMs }) => usedAtMs)),
          isNeeded: blobs.some(({ isNeeded }) => isNeeded),
        };
      }),
    );
  }

  async remove(repo: string): ReturnType<HubCache["remove"]> {
    const [found] = await readInventory(this.#options.root, repo);
    if (found === undefined) return { outcome: "absent" };
    const blobs = await this.#describe(found, await this.#neededBlobs());
    if (blobs.some((one) => one.isNeeded || this.#isHeld(one))) return { outcome: "needed" };
    const bytes = await this.#removeAll(blobs.filter(({ isOwn }) => isOwn));
    const keptBytes = blobs.filter(({ isOwn }) => !isOwn).reduce((sum, one) => sum + one.bytes, 0);
    return { outcome: "removed", bytes, keptBytes };
  }

  async collect(keepBytes: number): ReturnType<HubCache["collect"]> {
    const needed = await this.#neededBlobs();
    const repos = await readInventory(this.#options.root);
    const blobs = (await Promise.all(repos.map((found) => this.#describe(found, needed)))).flat();
    const plan = planCollection(blobs, keepBytes);
    const removedBytes = await this.#removeAll(plan);
    const own = blobs.filter(({ isOwn }) => isOwn).reduce((sum, { bytes }) => sum + bytes, 0);
    return { removedBytes, removedFiles: plan.length, keptBytes: own - removedBytes };
  }

  async verify(
    repo: string | null,
    repair: boolean,
    onBytes: (done: number, total: number) => void,
    signal: AbortSignal,
  ): ReturnType<HubCache["verify"]> {
    const repos = await readInventory(this.#options.root, repo);
    const total = repos.flatMap(({ blobs }) => blobs).reduce((sum, { bytes }) => sum + bytes, 0);
    const damaged: Damage[] = [];
    let files = 0;
    let done = 0;
    for (const found of repos) {
      for (const blob of found.blobs) {
        const release = this.hold(found.repo, [blob.name]);
        try {
          const path = this.#blobPath(found.repo, blob.name);
          // Removed since the cache was looked at, which may be minutes ago.
          if ((await fileAt(path)) === null) continue;
          const isRight = await hasNamedHash(
            path,
            blob.name,
            (bytes) => {
              done += bytes;
              onBytes(Math.min(done, total), total);
            },
            signal,
          );
          files += 1;
          if (isRight) await this.#noteRight(found.repo, blob);
          else damaged.push(await this.#handleDamage(found, blob, repair));
        } finally {
          release();
        }
      }
    }
    return { files, bytes: done, damaged };
  }

  /** A verified file of a shared cache need not be read again before it is used. */
  async #noteRight(repo: string, { name, bytes, mtimeMs }: FoundBlob): Promise<void> {
    const { ledger, isShared } = this.#options;
    const record = await ledger.read(repo, name);
    if (record !== null && record.mtimeMs === mtimeMs) return;
    const origin = record?.origin ?? (isShared ? "found" : "berth");
    await ledger.write(repo, name, { origin, bytes, mtimeMs, usedAtMs: record?.usedAtMs ?? mtimeMs });
  }

  async #handleDamage(found: FoundRepo, { name }: FoundBlob, repair: boolean): Promise<Damage> {
    const paths = new Set<string>();
    for (const links of found.snapshots.values()) {
      for (const [path, blob] of links) if (blob === name) paths.add(path);
    }
    // It stays no longer believed in, whoever wrote it.
    await this.#options.ledger.drop(found.repo, name);
    if (repair) await rm(join(found.folder, "blobs", name), { force: true });
    return { repo: found.repo, paths: paths.size === 0 ? [name] : [...paths], isRemoved: repair };
  }

  async #describe(found: FoundRepo, needed: ReadonlySet<string>): Promise<StoredBlob[]> {
    const { ledger, isShared } = this.#options;
    const { repo } = found;
    const records = new Map<string, BlobRecord | null>();
    for (const { name } of found.blobs) records.set(name, await ledger.read(repo, name));
    const whole = found.blobs.map(({ name, bytes, mtimeMs }) => {
      const record = records.get(name) ?? null;
      return {
        ...{ repo, blob: name, bytes },
        usedAtMs: record?.usedAtMs ?? mtimeMs,
        isOwn: record === null ? !isShared : record.origin === "berth",
        isNeeded: needed.has(`${repo} ${name}`),
      };
    });
    // What a download left belongs to the blob it was to become; another program's parts are its own business.
    const parts = found.parts.map(({ name, bytes, mtimeMs }) => ({
      ...{ repo, blob: name, bytes },
      usedAtMs: mtimeMs,
      isOwn: !isShared || /\.berth[^/]*\.incomplete$/.test(name),
      isNeeded: needed.has(`${repo} ${name.split(".")[0] ?? ""}`),
    }));
    return [...whole, ...parts];
  }

  async #neededBlobs(): Promise<ReadonlySet<string>> {
    const needs = await this.#options.needs();
    return new Set(
      needs.flatMap(({ repo, files }) => files.map((file) => `${repo} ${blobName(file) ?? ""}`)),
    );
  }

  #isHeld({ repo, blob }: StoredBlob): boolean {
    return this.#held.has(`${repo} ${blob.split(".")[0] ?? ""}`);
  }

  /** Removes blobs with the links that lead to them, and what is empty then. Returns the bytes that went. */
  async #removeAll(blobs: readonly StoredBlob[]): Promise<number> {
    let bytes = 0;
    for (const [repo, some] of Map.groupBy(blobs, (one) => one.repo)) {
      const gone = new Set<string>();
      for (const one of some) {
        // Asked for again since it was looked at: then it stays.
        const record = await this.#options.ledger.read(repo, one.blob);
        if (this.#isHeld(one) || (record !== null && record.usedAtMs > one.usedAtMs)) continue;
        await rm(this.#blobPath(repo, one.blob), { force: true });
        await this.#options.ledger.drop(repo, one.blob);
        gone.add(one.blob);
        bytes += one.bytes;
      }
      await this.#tidy(repo, gone);
    }
    return bytes;
  }

  /** Links to blobs that are gone, folders that are empty, names of commits that are not there. */
  async #tidy(repo: string, gone: ReadonlySet<string>): Promise<void> {
    const [found] = await readInventory(this.#options.root, repo);
    if (found === undefined) return;
    for (const [commit, links] of found.snapshots) {
      const snapshot = join(found.folder, "snapshots", commit);
      for (const [path, blob] of links) {
        if (!gone.has(blob)) continue;
        await unlink(join(snapshot, path)).catch(ignoreAbsent);
        await removeEmpty(dirname(join(snapshot, path)), found.folder);
      }
      if ((await readdir(snapshot).catch(() => [commit])).length > 0) continue;
      await removeEmpty(snapshot, found.folder);
    }
    const [after] = await readInventory(this.#options.root, repo);
    for (const [ref, commit] of found.refs) {
      if (after?.snapshots.has(commit) === true || !found.snapshots.has(commit)) continue;
      await rm(join(found.folder, "refs", ref), { force: true });
      await removeEmpty(dirname(join(found.folder, "refs", ref)), found.folder);
    }
    await removeEmpty(join(found.folder, "blobs"), this.#options.root);
  }

  #blobPath(repo: string, blob: string): string {
    return join(this.#options.root, repoFolder(repo), "blobs", blob);
  }
}

async function fileAt(path: string): Promise<{ bytes: number; mtimeMs: number } | null> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  });
  return found?.isFile() === true ? { bytes: found.size, mtimeMs: found.mtimeMs } : null;
}

/** Removes a folder and those above it as long as they are empty, not further up than inside `end`. */
async function removeEmpty(folder: string, end: string): Promise<void> {
  for (let at = folder; at.startsWith(`${end}/`); at = dirname(at)) {
    try {
      await rmdir(at);
    } catch (error) {
      if (["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) return;
      ignoreAbsent(error as NodeJS.ErrnoException);
    }
  }
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
