/**
 * What is kept on disk of an instance, so that it outlives control: `record.json` (who it is, where it listens, its
 * secret, its process, when it became ready) and `exit.json` (how it ended and why). Each is replaced atomically and
 * durably. What the engine itself works in is a folder within, so that it cannot change what Berth keeps of it. Owns the layout and the check of names that become paths.
 */
import { mkdir, open, readdir, readFile, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type FailureCode, failureCodes } from "../../core/failure.ts";

export const idPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Ids become names of files: throws on one that could be anything else. */
export function checkId(id: string): string {
  if (!idPattern.test(id))
    throw new Error(`"${id.slice(0, 80)}" is not an id of an instance or a deployment.`);
  return id;
}

const identitySchema = z.object({ pid: z.int().min(2), startedAt: z.string().min(1) });

const recordSchema = z.object({
  version: z.literal(1),
  id: z.string().regex(idPattern),
  deploymentId: z.string().regex(idPattern),
  engine: z.string(),
  placement: z.object({ node: z.string(), gpus: z.array(z.string()) }),
  endpoint: z.object({ kind: z.literal("unix"), path: z.string() }),
  secret: z.string().min(16),
  /** A name the engine answers to; absent in records of earlier versions, and where it has none. */
  servedName: z.string().optional(),
  /** Bytes it may have; absent where it has no limit. */
  memoryBytes: z.number().optional(),
  startedAtMs: z.number(),
  /** The container that the process is the client of; absent where the engine is a process itself. */
  container: z.object({ program: z.string(), name: z.string(), image: z.string() }).optional(),
  /** Null from just before the process is started until just after. */
  process: identitySchema.nullable(),
  /** What the engine reported when it was first ready, null before. */
  ready: z
    .object({ atMs: z.number(), slots: z.number(), contextTokens: z.number(), note: z.string().nullable() })
    .nullable(),
});
export type SavedRecord = Readonly<z.output<typeof recordSchema>>;

const exitSchema = z.object({
  atMs: z.number(),
  /** Both null when nobody saw it end. */
  code: z.number().nullable(),
  signal: z.string().nullable(),
  failure: z.object({
    code: z.enum(Object.keys(failureCodes) as [FailureCode, ...FailureCode[]]),
    message: z.string(),
    next: z.string(),
  }),
});
export type SavedExit = Readonly<z.output<typeof exitSchema>>;

export type SavedInstance =
  | { readonly ok: true; readonly record: SavedRecord; readonly exit: SavedExit | null }
  | { readonly ok: false; readonly why: string };

export type InstanceFolders = {
  /** Folder that all of them are in. */
  readonly root: string;
  path(id: string): string;
  /** The real path of an instance's folder, which need not exist. */
  realPath(id: string): Promise<string>;
  /** Where the engine works: the one folder in `path(id)` that is its own. */
  enginePath(id: string): string;
  /** Names of all folders that could be an instance's. */
  list(): Promise<string[]>;
  create(id: string): Promise<void>;
  read(id: string): Promise<SavedInstance>;
  saveRecord(record: SavedRecord): Promise<void>;
  saveExit(id: string, exit: SavedExit): Promise<void>;
  remove(id: string): Promise<void>;
};

/** The folders under `root` (`$BERTH_HOME/instances`), all private to the user. */
export function openInstanceFolders(root: string): InstanceFolders {
  const path = (id: string) => join(root, checkId(id));
  const enginePath = (id: string) => join(path(id), "engine");
  return {
    root,
    path,
    enginePath,
    realPath: async (id) => join(await realpath(root), checkId(id)),
    async list() {
      try {
        const entries = await readdir(root, { withFileTypes: true });
        return entries
          .filter((entry) => entry.isDirectory() && idPattern.test(entry.name))
          .map(({ name }) => name);
      } catch (error) {
        if (isMissing(error)) return [];
        throw error;
      }
    },
    async create(id) {
      await mkdir(enginePath(id), { recursive: true, mode: 0o700 });
    },
    async read(id) {
      const record = parse(recordSchema, await readText(join(path(id), "record.json")));
      if (record === null) return { ok: false, why: "record.json is missing or damaged" };
      if (record.id !== id) return { ok: false, why: `record.json is of another instance, ${record.id}` };
      return { ok: true, record, exit: parse(exitSchema, await readText(join(path(id), "exit.json"))) };
    },
    async saveRecord(record) {
      await replaceFile(path(record.id), "record.json", JSON.stringify(record));
    },
    async saveExit(id, exit) {
      await replaceFile(path(id), "exit.json", JSON.stringify(exit));
    },
    async remove(id) {
      await rm(path(id), { recursive: true, force: true });
    },
  };
}

/** Null when there is no such file; other errors (too many open files, a bad disk) say nothing about the record. */
async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function parse<T extends z.ZodType>(schema: T, text: string | null): z.output<T> | null {
  if (text === null) return null;
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null; // Not JSON: half written by something else than this file.
  }
}

/** Either the old or the new content is there after a crash at any time, and the new one once this resolves. */
async function replaceFile(folder: string, name: string, content: string): Promise<void> {
  const next = join(folder, `${name}.next`);
  const file = await open(next, "w", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, join(folder, name));
  const directory = await open(folder, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
