/**
 * The spool on disk: `<root>/<gateway>/<number>.open` is the segment a gateway appends to, `<number>.ndjson` a closed one
 * that waits for delivery. Any gateway may deliver what is closed, and close what a dead one has left open. A writer finds
 * out that its segment was closed by another, so that nothing it appended afterwards is lost. Owns names, rights and sizes;
 * must not know what a line says.
 */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";

export type OpenSegment = {
  readonly path: string;
  /** Bytes appended so far. */
  readonly bytes: number;
  /** False when the segment was taken away meanwhile: the data must go to another one. */
  append(data: string): Promise<boolean>;
  sync(): Promise<void>;
  /** From now on it waits for delivery. */
  close(): Promise<void>;
};

export type ClosedSegment = {
  readonly path: string;
  readonly bytes: number;
  readonly writtenAtMs: number;
  /** Written by this gateway in this life. */
  readonly isOwn: boolean;
};

export type SpoolFolder = {
  openSegment(): Promise<OpenSegment>;
  /** Closed segments of all gateways, the oldest first; another's only once it is left alone. */
  closed(nowMs: number): Promise<ClosedSegment[]>;
  /** Closes what others have left open, and removes folders that are left empty. */
  adopt(nowMs: number): Promise<void>;
  /** The text of a segment; null when it is gone. */
  read(segment: ClosedSegment): Promise<string | null>;
  remove(segment: ClosedSegment): Promise<void>;
  /** Removes this gateway's folder when nothing is in it. */
  leave(): Promise<void>;
};

/** What another gateway has not touched for this long is taken over; a living one notices. */
const leftAloneMs = 10_000;
const namePattern = /^[A-Za-z0-9-]{1,64}$/;

export function openSpoolFolder(root: string, gatewayId: string): SpoolFolder {
  if (!namePattern.test(gatewayId)) throw new Error(`${gatewayId} cannot name a folder`);
  const own = join(root, gatewayId);
  // Later than any number of an earlier life under the same name, so that none is written over.
  let next = Date.now();

  const filesOf = async (ending: string): Promise<ClosedSegment[]> => {
    const found: ClosedSegment[] = [];
    for (const gateway of (await listIfThere(root)).filter((name) => namePattern.test(name))) {
      for (const name of (await listIfThere(join(root, gateway))).filter((each) => each.endsWith(ending))) {
        const path = join(root, gateway, name);
        const info = await stat(path).catch(nullIfMissing);
        if (info === null) continue;
        found.push({ path, bytes: info.size, writtenAtMs: info.mtimeMs, isOwn: gateway === gatewayId });
      }
    }
    // Numbers have the same length, so that names of one gateway are in order.
    return found.sort((a, b) => a.writtenAtMs - b.writtenAtMs || (a.path < b.path ? -1 : 1));
  };

  const beginSegment = async (): Promise<OpenSegment> => {
    await mkdir(own, { recursive: true, mode: 0o700 });
    const number = next;
    next += 1;
    return await openSegment(own, join(own, String(number).padStart(15, "0")));
  };

  return {
    async openSegment() {
      // Missing when another gateway has just removed the folder, which was empty.
      return (await beginSegment().catch(nullIfMissing)) ?? (await beginSegment());
    },
    async closed(nowMs) {
      const all = await filesOf(".ndjson");
      return all.filter(({ isOwn, writtenAtMs }) => isOwn || nowMs - writtenAtMs >= leftAloneMs);
    },
    async adopt(nowMs) {
      for (const { path, writtenAtMs, isOwn } of await filesOf(".open")) {
        if (isOwn || nowMs - writtenAtMs < leftAloneMs) continue;
        await rename(path, path.replace(/open$/, "ndjson")).catch(nullIfMissing);
      }
      for (const gateway of (await listIfThere(root)).filter((name) => namePattern.test(name)))
        if (gateway !== gatewayId && (await isLeftAlone(join(root, gateway), nowMs)))
          await removeIfEmpty(join(root, gateway));
    },
    read: async ({ path }) => await readFile(path, "utf8").catch(nullIfMissing),
    remove: async ({ path }) => await rm(path, { force: true }),
    leave: async () => await removeIfEmpty(own),
  };
}

async function openSegment(folder: string, stem: string): Promise<OpenSegment> {
  const { O_APPEND, O_CREAT, O_EXCL, O_WRONLY } = constants;
  const path = `${stem}.open`;
  const file = await open(path, O_APPEND | O_CREAT | O_EXCL | O_WRONLY, 0o600);
  let bytes = 0;
  let isNew = true;

  async function sync(): Promise<void> {
    await file.datasync();
    if (isNew) await syncFolder(folder);
    isNew = false;
  }

  return {
    path,
    get bytes() {
      return bytes;
    },
    async append(data) {
      await file.appendFile(data);
      bytes += Buffer.byteLength(data);
      // What was appended before another took the segment away is in what it delivers; what came after it may not be.
      if ((await stat(path).catch(nullIfMissing)) !== null) return true;
      await file.close();
      return false;
    },
    sync,
    async close() {
      try {
        await sync();
      } finally {
        await file.close();
        await rename(path, `${stem}.ndjson`).catch(nullIfMissing); // another was faster
      }
    },
  };
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY).catch(nullIfMissing);
  // Another gateway has taken all that was in it, and the folder.
  if (folder === null) return;
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function listIfThere(path: string): Promise<string[]> {
  return (await readdir(path).catch(nullIfMissing)) ?? [];
}

/** One that nothing was put into or taken from lately: its gateway may be about to. */
async function isLeftAlone(folder: string, nowMs: number): Promise<boolean> {
  const info = await stat(folder).catch(nullIfMissing);
  return info !== null && nowMs - info.mtimeMs >= leftAloneMs;
}

async function removeIfEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "ENOENT" && code !== "ENOTDIR") throw error;
  });
}

function nullIfMissing(error: unknown): null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return null;
  throw error;
}
