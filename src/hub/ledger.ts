/**
 * What Berth knows of the blobs in its cache beyond their bytes: who wrote them, which state of the file was verified,
 * when they were last asked for. One small file a blob in a folder of Berth's own, so that a cache that is shared with
 * other programs holds nothing they do not know. A lost record costs a verification, or the right to remove the blob in
 * a shared cache; never a wrong file.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { repoFolder } from "./names.ts";

const recordShape = z.object({
  /** found: another program wrote it. */
  origin: z.enum(["berth", "found"]),
  bytes: z.number(),
  /** Time of the last change of the file that was verified; another one means that it has to be verified again. */
  mtimeMs: z.number(),
  usedAtMs: z.number(),
});
export type BlobRecord = z.output<typeof recordShape>;

export class Ledger {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Null when there is none, or none that can be read. */
  async read(repo: string, blob: string): Promise<BlobRecord | null> {
    const text = await readFile(this.#pathOf(repo, blob), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (text === null) return null;
    try {
      return recordShape.parse(JSON.parse(text));
    } catch {
      // Cut off by a crash: as good as none.
      return null;
    }
  }

  async write(repo: string, blob: string, record: BlobRecord): Promise<void> {
    const path = this.#pathOf(repo, blob);
    await mkdir(dirname(path), { recursive: true });
    const fresh = `${path}.${randomUUID()}`;
    await writeFile(fresh, JSON.stringify(record));
    await rename(fresh, path);
  }

  async drop(repo: string, blob: string): Promise<void> {
    await rm(this.#pathOf(repo, blob), { force: true });
  }

  #pathOf(repo: string, blob: string): string {
    return join(this.#folder, repoFolder(repo), `${blob}.json`);
  }
}
