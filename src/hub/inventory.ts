/**
 * What a cache folder holds, read from the disk: repositories, their blobs, and which paths of which commits point to
 * them. Follows no link out of the cache, skips what is not in the layout, and must not write.
 */
import type { Dirent } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { isCommit, parseRepo } from "../core/repo.ts";

export type FoundBlob = {
  readonly name: string;
  readonly bytes: number;
  readonly mtimeMs: number;
};

export type FoundRepo = {
  /** `owner/name` */
  readonly repo: string;
  readonly folder: string;
  readonly blobs: readonly FoundBlob[];
  /** Files that grow, or that a download left, by their full names. */
  readonly parts: readonly FoundBlob[];
  readonly refs: ReadonlyMap<string, string>;
  /** Commit -> path in the repository -> name of the blob. */
  readonly snapshots: ReadonlyMap<string, ReadonlyMap<string, string>>;
};

const maxRepos = 10_000;
const maxDepth = 33;

/** Of one repository, or of all, in order of their names. */
export async function readInventory(root: string, only: string | null = null): Promise<FoundRepo[]> {
  const repos: FoundRepo[] = [];
  for (const entry of await entriesOf(root)) {
    const repo = repoOf(entry);
    if (repo === null || (only !== null && repo !== only) || repos.length >= maxRepos) continue;
    const folder = join(root, entry.name);
    const files = await blobsOf(join(folder, "blobs"));
    repos.push({
      repo,
      folder,
      blobs: files.filter(({ name }) => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(name)),
      parts: files.filter(({ name }) => /\.incomplete$/.test(name)),
      refs: await refsOf(join(folder, "refs"), "", 0),
      snapshots: await snapshotsOf(join(folder, "snapshots")),
    });
  }
  return repos.sort((a, b) => (a.repo < b.repo ? -1 : 1));
}

function repoOf(entry: Dirent): string | null {
  const found = /^models--(.+?)--(.+)$/.exec(entry.name);
  if (!entry.isDirectory() || found === null) return null;
  const parsed = parseRepo(`${found[1]}/${found[2]}`);
  return parsed === null ? null : `${parsed.owner}/${parsed.name}`;
}

async function blobsOf(folder: string): Promise<FoundBlob[]> {
  const found: FoundBlob[] = [];
  for (const { name } of await entriesOf(folder)) {
    const file = await lstat(join(folder, name)).catch(absent);
    if (file?.isFile() === true) found.push({ name, bytes: file.size, mtimeMs: file.mtimeMs });
  }
  return found;
}

async function refsOf(folder: string, prefix: string, depth: number): Promise<Map<string, string>> {
  const refs = new Map<string, string>();
  for (const entry of await entriesOf(folder)) {
    const name = `${prefix}${entry.name}`;
    const path = join(folder, entry.name);
    if (entry.isDirectory() && depth < maxDepth) {
      for (const [inner, commit] of await refsOf(path, `${name}/`, depth + 1)) refs.set(inner, commit);
    } else if (entry.isFile()) {
      const commit = ((await readFile(path, "utf8").catch(absent)) ?? "").trim();
      if (isCommit(commit)) refs.set(name, commit);
    }
  }
  return refs;
}

async function snapshotsOf(folder: string): Promise<Map<string, Map<string, string>>> {
  const snapshots = new Map<string, Map<string, string>>();
  for (const entry of await entriesOf(folder)) {
    if (!entry.isDirectory() || !isCommit(entry.name)) continue;
    const links = new Map<string, string>();
    await collectLinks(join(folder, entry.name), "", 0, links);
    snapshots.set(entry.name, links);
  }
  return snapshots;
}

async function collectLinks(
  folder: string,
  prefix: string,
  depth: number,
  links: Map<string, string>,
): Promise<void> {
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && depth < maxDepth) {
      await collectLinks(path, `${prefix}${entry.name}/`, depth + 1, links);
    } else if (entry.isSymbolicLink()) {
      const target = await readlink(path).catch(absent);
      if (target !== null) links.set(`${prefix}${entry.name}`, basename(target));
    }
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return (await readdir(folder, { withFileTypes: true }).catch(absent)) ?? [];
}

/** What is removed while it is looked at was not there. */
function absent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
  throw error;
}
