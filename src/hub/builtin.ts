/**
 * Repositories that Berth ships as folders, offered as if an endpoint had them: a commit derived from the content, a
 * file list with hashes, files to open. They go through the same verified download into the cache and never ask the
 * network. Must not write.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { RepoFile } from "../core/deployment.ts";
import type { RepoListing } from "../ports/hub.ts";
import { fileGone, revisionNotFound } from "./failures.ts";
import { isFilePath } from "./names.ts";
import { startGitBlob } from "./part.ts";
import { type OpenFile, type ReadRange, readerOf } from "./source.ts";

/** Files from this size on are named by their sha256, as a hub's large files are, bytes. */
const largeFileBytes = 1024 * 1024;
const maxFiles = 10_000;

/** Lists a shipped folder. The same content has the same commit on every machine. */
export async function listBuiltin(
  repo: string,
  folder: string,
  revision: string | null,
  signal: AbortSignal,
): Promise<RepoListing> {
  const files: RepoFile[] = [];
  for (const path of await walk(folder, "")) files.push(await describe(folder, path, signal));
  const manifest = files.map((file) => `${file.path}\0${file.sha256 ?? file.gitOid}\n`).join("");
  const commit = createHash("sha256").update(manifest).digest("hex").slice(0, 40);
  if (revision !== null && revision !== "main" && revision !== commit) throw revisionNotFound(repo, revision);
  return { repo, commit, files };
}

/** Opens files of a shipped folder; one that is gone means that this version of Berth ships another commit. */
export function openBuiltin(repo: string, folder: string): OpenFile {
  return async (file, { start, end }, signal) => {
    if (!isFilePath(file.path)) throw fileGone(repo, file.path);
    const path = join(folder, file.path);
    const found = await stat(path).catch(() => null);
    if (found === null || !found.isFile()) throw fileGone(repo, file.path);
    const head = { offset: start, bytesTotal: found.size };
    if (start >= end) return { ...head, read: async () => undefined, close: () => undefined };
    const body = createReadStream(path, { start, end: end - 1, signal });
    return { ...head, read: readerOf(body), close: () => void body.destroy() };
  };
}

/** Reads parts of files of a shipped folder. */
export function readBuiltin(repo: string, folder: string): ReadRange {
  const open = openBuiltin(repo, folder);
  return async (file, start, end, signal) => {
    const { read, close } = await open(file, { start, end }, signal);
    const chunks: Uint8Array[] = [];
    let left = end - start;
    await read((bytes) => {
      // The bytes are good only during the call.
      chunks.push(Buffer.from(bytes.subarray(0, left)));
      left -= bytes.byteLength;
      return left > 0;
    });
    close();
    if (left > 0) throw fileGone(repo, file.path);
    return Buffer.concat(chunks, end - start);
  };
}

/** Paths of the regular files, sorted by code unit. Hidden files and links are not part of a repository here. */
async function walk(folder: string, prefix: string): Promise<string[]> {
  const paths: string[] = [];
  const entries = await readdir(join(folder, prefix), { withFileTypes: true });
  for (const entry of entries) {
    const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    if (entry.name.startsWith(".") || !isFilePath(path)) continue;
    if (entry.isDirectory()) paths.push(...(await walk(folder, path)));
    else if (entry.isFile()) paths.push(path);
    if (paths.length > maxFiles) throw new Error(`${folder} has more than ${maxFiles} files`);
  }
  return paths.sort((a, b) => (a < b ? -1 : 1));
}

async function describe(folder: string, path: string, signal: AbortSignal): Promise<RepoFile> {
  const { size } = await stat(join(folder, path));
  const isLarge = size >= largeFileBytes;
  const hash = isLarge ? createHash("sha256") : startGitBlob("sha1", size);
  for await (const chunk of createReadStream(join(folder, path), { signal })) hash.update(chunk as Buffer);
  const digest = hash.digest("hex");
  return { path, bytes: size, sha256: isLarge ? digest : null, gitOid: isLarge ? null : digest };
}
