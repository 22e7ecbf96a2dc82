/**
 * Names on the way from a server to the disk: where a repository lives in the cache, what a blob is called, and which
 * file paths of a listing may be used at all. Pure; does no I/O. Everything that becomes a path goes through here.
 */
import type { RepoFile } from "../core/deployment.ts";
import { parseRepo } from "../core/repo.ts";

const maxPathBytes = 1024;
const maxNameBytes = 255;
const maxDepth = 32;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const forbiddenInPath = /[\u0000-\u001f\u007f\\]/;

/** `owner/name` without the quantization; null when the name is not acceptable. */
export function plainRepo(repo: string): string | null {
  const parsed = parseRepo(repo);
  return parsed === null ? null : `${parsed.owner}/${parsed.name}`;
}

/** Folder of a repository in the Hugging Face cache layout, for `owner/name`: `models--owner--name`. */
export function repoFolder(plain: string): string {
  return `models--${plain.replace("/", "--")}`;
}

/** True for a path that stays inside a repository and that every file system here can hold. */
export function isFilePath(path: string): boolean {
  if (path === "" || Buffer.byteLength(path) > maxPathBytes || forbiddenInPath.test(path)) return false;
  if (!path.isWellFormed()) return false;
  const parts = path.split("/");
  return (
    parts.length <= maxDepth &&
    parts.every(
      (part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= maxNameBytes,
    )
  );
}

/**
 * Two paths that cannot both be stored on every file system: equal but for case or Unicode form, or one being a folder
 * of the other. Null when there are none.
 */
export function findCollision(paths: readonly string[]): readonly [string, string] | null {
  const seen = new Map<string, string>();
  for (const path of paths) {
    const folded = fold(path);
    const other = seen.get(folded);
    if (other !== undefined) return [other, path];
    seen.set(folded, path);
  }
  for (const path of paths) {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const other = seen.get(fold(parts.slice(0, depth).join("/")));
      if (other !== undefined) return [other, path];
    }
  }
  return null;
}

/**
 * Name of the file's content in the cache: the sha256 of a large file, the git blob id of a small one, as Python's
 * client names them. Null when there is no well-formed hash, so that the file could not be verified.
 */
export function blobName(file: RepoFile): string | null {
  if (file.sha256 !== null) return /^[0-9a-f]{64}$/.test(file.sha256) ? file.sha256 : null;
  if (file.gitOid === null) return null;
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(file.gitOid) ? file.gitOid : null;
}

function fold(path: string): string {
  return path.normalize("NFC").toLowerCase();
}
