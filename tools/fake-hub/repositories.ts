/**
 * A folder tree read as Hugging Face repositories: commits, git blob ids, LFS hashes and pointers, all derived from the
 * content. Owns what a repository is; knows nothing of HTTP or of who may see it.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

export type RepoEntry = {
  readonly path: string;
  /** Where its bytes are on this machine. */
  readonly file: string;
  readonly size: number;
  /** Git blob id: of the content, or of the pointer for an LFS file. */
  readonly oid: string;
  readonly lfs: { readonly sha256: string; readonly pointer: string } | null;
};

export type Snapshot = {
  readonly commit: string;
  readonly entries: readonly RepoEntry[];
  readonly modifiedMs: number;
};

/** What the hub's default .gitattributes puts into LFS, and anything from 10 MB on. */
const lfsNames =
  /\.(7z|arrow|bin|bz2|ckpt|ftz|gguf|gz|h5|joblib|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|xz|zip|zst)$/;
const lfsFromBytes = 10 * 1024 * 1024;
const repoPart = /^\w[\w.-]*$/;

/** Reads `root` anew at each question; hashes are kept as long as a file's size and time stay. */
export function openRepositories(root: string) {
  const hashes = new Map<string, Omit<RepoEntry, "path">>();

  /** Revision names of a repository; empty when there is no such repository. */
  async function revisions(repo: string): Promise<string[]> {
    const [owner = "", name = "", ...rest] = repo.split("/");
    if (rest.length > 0 || !repoPart.test(owner) || !repoPart.test(name)) return [];
    const folders = await readdir(join(root, owner), { withFileTypes: true }).catch(() => []);
    return folders.flatMap((folder) => {
      if (!folder.isDirectory()) return [];
      if (folder.name === name) return ["main"];
      return folder.name.startsWith(`${name}@`)
        ? [decodeURIComponent(folder.name.slice(name.length + 1))]
        : [];
    });
  }

  /** A branch, tag or commit; null when the repository has none of that name. */
  async function snapshot(repo: string, revision: string): Promise<Snapshot | null> {
    const names = await revisions(repo);
    if (names.includes(revision)) return await readSnapshot(folderOf(repo, revision));
    for (const name of names) {
      const found = await readSnapshot(folderOf(repo, name));
      if (found.commit === revision) return found;
    }
    return null;
  }

  function folderOf(repo: string, revision: string): string {
    return join(root, revision === "main" ? repo : `${repo}@${encodeURIComponent(revision)}`);
  }

  async function readSnapshot(folder: string): Promise<Snapshot> {
    const found = await readdir(folder, { withFileTypes: true, recursive: true });
    const paths = found
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .sort();
    const entries: RepoEntry[] = [];
    let modifiedMs = 0;
    for (const path of paths) {
      const { mtimeMs } = await stat(join(folder, path));
      modifiedMs = Math.max(modifiedMs, mtimeMs);
      entries.push({ path, ...(await hashFile(join(folder, path))) });
    }
    const tree = entries.map(({ path, oid }) => `100644 ${path}\0${oid}\n`).join("");
    return { commit: sha1(`commit ${tree}`), entries, modifiedMs };
  }

  async function hashFile(file: string): Promise<Omit<RepoEntry, "path">> {
    const { size, mtimeMs, ino } = await stat(file);
    const key = `${file} ${size} ${mtimeMs} ${ino}`;
    const known = hashes.get(key);
    if (known !== undefined) return known;
    const hashed = await describe(file, size);
    hashes.set(key, hashed);
    return hashed;
  }

  return { revisions, snapshot };
}

async function describe(file: string, size: number): Promise<Omit<RepoEntry, "path">> {
  if (!lfsNames.test(file) && size < lfsFromBytes) {
    const content = await readFile(file);
    return { file, size, oid: gitOid(content), lfs: null };
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const sha256 = hash.digest("hex");
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
  return { file, size, oid: gitOid(Buffer.from(pointer)), lfs: { sha256, pointer } };
}

function gitOid(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
