/**
 * Models that are on this machine's disk already, in folders that an administrator allows: used where they are, never
 * copied, written or collected. Nothing vouches for their bytes, so what a deployment is bound to is a commit made of names,
 * sizes and times of change; files that are others later are refused. Owns that no path leads out of the allowed folders.
 */
import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { RepoFile } from "../core/deployment.ts";
import { parseLocal, plainName, quantizationOf } from "../core/repo.ts";
import type { ChooseFiles, Hub, HubOutcome, RepoListing } from "../ports/hub.ts";
import { diskErrorCode, HubError, localChanged, localNotFound, storageError } from "./failures.ts";
import { inspectFiles } from "./inspect/inspect.ts";
import { isFilePath } from "./names.ts";
import type { ReadRange } from "./source.ts";

export type LocalOptions = {
  /** Absolute folders; what a link in them leads to must be in one of them too. */
  readonly roots: readonly string[];
  readonly chooseFiles: ChooseFiles;
};

const maxFiles = 10_000;
const maxDepth = 8;

/** A file with what tells it from another one in its place. */
type Found = { readonly file: RepoFile; readonly realPath: string; readonly identity: string };

/** Sends names that begin with `file://` to `local`, all others to `remote`. */
export function withLocal(remote: Hub, local: Hub): Hub {
  const of = (repo: string) => (parseLocal(repo) === null ? remote : local);
  return {
    list: (weights, ...rest) => of(weights.repo).list(weights, ...rest),
    fetch: (repo, ...rest) => of(repo).fetch(repo, ...rest),
    inspect: (weights, ...rest) => of(weights.repo).inspect(weights, ...rest),
    changed: (repo, weights) => of(repo).changed(repo, weights),
    snapshotPath: (repo, commit) => of(repo).snapshotPath(repo, commit),
  };
}

export function createLocalHub({ roots, chooseFiles }: LocalOptions): Hub {
  /** @throws HubError when there is nothing at that name that may be used */
  async function look(repo: string): Promise<{ listing: RepoListing; found: readonly Found[] }> {
    const name = plainName(repo) ?? "";
    const path = parseLocal(repo)?.path ?? "";
    try {
      const found = await findFiles(path, await realRoots(roots));
      if (found.length === 0) throw localNotFound(name);
      return {
        listing: { repo: name, commit: commitOf(found), files: found.map(({ file }) => file) },
        found,
      };
    } catch (error) {
      if (error instanceof HubError) throw error;
      if (isAbsence(error)) throw localNotFound(name);
      throw storageError(error, name, null, null);
    }
  }

  async function readerOf(found: readonly Found[], name: string): Promise<ReadRange> {
    const paths = new Map(found.map(({ file, realPath }) => [file.path, realPath]));
    return async (file, start, end) => {
      const path = paths.get(file.path);
      if (path === undefined) throw localChanged(name);
      const handle = await open(path, "r");
      try {
        const bytes = Buffer.alloc(end - start);
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        if (bytesRead < bytes.length) throw localChanged(name);
        return bytes;
      } finally {
        await handle.close();
      }
    };
  }

  /** Null, or the failure to tell: the chosen files are not those that were listed. */
  async function refuseChange(repo: string, commit: string, files: readonly RepoFile[]) {
    const { listing } = await look(repo);
    const isThere = files.every(({ path }) => listing.files.some((file) => file.path === path));
    return listing.commit === commit && isThere ? null : localChanged(listing.repo);
  }

  return {
    list: (weights) => asOutcome(async () => (await look(weights.repo)).listing),
    fetch: (repo, commit, files, _token, onProgress) =>
      asOutcome(async () => {
        const change = await refuseChange(repo, commit, files);
        if (change !== null) throw change;
        const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
        onProgress({ bytesDone: bytes, bytesTotal: bytes, bytesPerS: 0, currentFiles: [] });
        return null;
      }),
    inspect: (weights, _token, signal, listed) =>
      asOutcome(async () => {
        const { listing, found } = await look(weights.repo);
        const chosen = listed?.files ?? choose(chooseFiles, listing, quantizationOf(weights.repo));
        const read = await readerOf(found, listing.repo);
        return await inspectFiles({ listing, files: chosen, read, host: "The disk" }, signal);
      }),
    async changed(repo, { commit, files }) {
      const outcome = await asOutcome(() => refuseChange(repo, commit, files));
      if (!outcome.ok) return outcome.failure;
      return outcome.value?.failure ?? null;
    },
    snapshotPath(repo) {
      const path = parseLocal(repo)?.path;
      if (path === undefined) throw new Error(`${repo} is no local name`);
      return isWeightFile(path) ? dirname(path) : path;
    },
  };
}

function choose(chooseFiles: ChooseFiles, listing: RepoListing, quantization: string | null) {
  const chosen = chooseFiles(listing, quantization);
  if (!chosen.ok) throw new HubError(chosen.failure);
  return chosen.value.files;
}

/** A folder may not be called so. */
function isWeightFile(path: string): boolean {
  return /\.gguf$/i.test(path);
}

async function realRoots(roots: readonly string[]): Promise<string[]> {
  const real = await Promise.all(roots.map((root) => realpath(root).catch(() => null)));
  return real.filter((root) => root !== null);
}

/** Empty for what is not there, is nothing that can be deployed, or is not within `roots`. */
async function findFiles(path: string, roots: readonly string[]): Promise<Found[]> {
  const real = await realpath(path);
  if (!isWithin(real, roots)) return [];
  const info = await stat(real, { bigint: true });
  if (isWeightFile(path)) {
    // All shards of a file that is one of several, as an engine opens them by name.
    if (!info.isFile()) return [];
    const siblings = await walk(dirname(path), roots, 0);
    return siblings.filter(({ file }) => isPartOf(file.path, basename(path)));
  }
  return info.isDirectory() ? await walk(path, roots, maxDepth) : [];
}

function isPartOf(path: string, entry: string): boolean {
  const shard = /^(.*)-\d{5}-of-(\d{5})\.gguf$/i;
  const [one, other] = [shard.exec(entry), shard.exec(path)];
  if (one === null) return path === entry;
  return other !== null && one[1] === other[1] && one[2] === other[2];
}

/** Files below a folder, sorted by code unit, without hidden ones and those whose links lead out of `roots`. */
async function walk(folder: string, roots: readonly string[], depth: number, prefix = ""): Promise<Found[]> {
  const found: Found[] = [];
  for (const { name } of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const path = `${prefix}${name}`;
    if (name.startsWith(".") || !isFilePath(path)) continue;
    const realPath = await realpath(join(folder, path)).catch(() => null);
    if (realPath === null || !isWithin(realPath, roots)) continue;
    const info = await stat(realPath, { bigint: true });
    if (info.isDirectory() && depth > 0) found.push(...(await walk(folder, roots, depth - 1, `${path}/`)));
    if (info.isFile()) found.push(describe(path, realPath, info));
    if (found.length > maxFiles) throw localNotFound(`file://${folder}`);
  }
  return found.toSorted((a, b) => (a.file.path < b.file.path ? -1 : 1));
}

function describe(path: string, realPath: string, { size, mtimeNs, ino }: BigIntStats): Found {
  const file = { path, bytes: Number(size), sha256: null, gitOid: null };
  return { file, realPath, identity: `${path}\0${size}\0${mtimeNs}\0${ino}\n` };
}

function commitOf(found: readonly Found[]): string {
  const identities = found.map(({ identity }) => identity).join("");
  return createHash("sha256").update(identities).digest("hex").slice(0, 40);
}

function isWithin(real: string, roots: readonly string[]): boolean {
  return roots.some((root) => real === root || real.startsWith(root === "/" ? root : `${root}/`));
}

function isAbsence(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EACCES", "ELOOP", "ENAMETOOLONG"].includes(diskErrorCode(error) ?? "");
}

async function asOutcome<T>(action: () => Promise<T>): Promise<HubOutcome<T>> {
  try {
    return { ok: true, value: await action() };
  } catch (error) {
    if (error instanceof HubError) return { ok: false, failure: error.failure };
    throw error;
  }
}
