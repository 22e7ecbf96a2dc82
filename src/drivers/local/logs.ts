/**
 * Engine output on disk, under `$BERTH_HOME/logs/<deployment>/`. An engine writes `<instance>.log` by itself, so that
 * nothing stands between it and the disk when control is away. Beside it: `.times` (when which part was written) and
 * `.past` (older lines, masked, with their times). Keeps all of it bounded: a log that grows too long is cut from the
 * front, logs of past instances are given up oldest first. Lines written in the instant of a cut can be lost; nothing is cut while no control runs.
 */
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import type { InstanceLog } from "../../ports/driver.ts";
import { formatPast, type LogLine, newest, parsePast, parseSamples, readRawLines } from "./log-lines.ts";
import { checkId, idPattern } from "./record.ts";

export type LogLimits = {
  /** Bytes of one instance's output before it is cut. */
  readonly maxLogBytes: number;
  /** Bytes of one instance's output that are read at once. */
  readonly maxReadBytes: number;
  /** Logs of past instances that a deployment keeps. */
  readonly pastLogsPerDeployment: number;
  /** Logs of past instances that are kept of all deployments together. */
  readonly pastLogs: number;
};

export type LogName = { readonly deploymentId: string; readonly instanceId: string };

/** The log of an instance that exists. Its methods must not run at the same time. */
export type InstanceOutput = {
  readonly path: string;
  /** Notes what was written since the last call; cuts the log when it is too long. */
  sample(): Promise<void>;
  /** The newest lines, masked. */
  lastLines(count: number): Promise<string[]>;
  /** The instance is over: what is worth keeping goes masked to the past, the raw file is removed. */
  finish(): Promise<void>;
};

export type LogShelf = {
  /** Creates the folder for the instance's log. */
  open(name: LogName, secret: string): Promise<InstanceOutput>;
  /** Logs of a deployment's instances, the longest unwritten first. `secrets` are masked besides what looks like one. */
  read(deploymentId: string, secrets: readonly string[]): Promise<InstanceLog[]>;
  /** Gives up the oldest logs beyond the limits; never those of `living` instances. */
  prune(living: ReadonlySet<string>): Promise<void>;
};

/** Samples take about 30 bytes; more than this many bytes of them are cut together with the log. */
const maxTimesBytes = 1_000_000;

type Files = { readonly raw: string; readonly times: string; readonly past: string };

export function openLogShelf(root: string, limits: LogLimits): LogShelf {
  const folderOf = (deploymentId: string) => join(root, checkId(deploymentId));
  const filesOf = ({ deploymentId, instanceId }: LogName): Files => {
    const stem = join(folderOf(deploymentId), checkId(instanceId));
    return { raw: `${stem}.log`, times: `${stem}.times`, past: `${stem}.past` };
  };

  return {
    async open(name, secret) {
      await mkdir(folderOf(name.deploymentId), { recursive: true, mode: 0o700 });
      return openOutput(filesOf(name), secret, limits);
    },
    async read(deploymentId, secrets) {
      const kept = await listInstances(folderOf(deploymentId));
      const logs: InstanceLog[] = [];
      for (const { instanceId } of kept) {
        const lines = await readAll(filesOf({ deploymentId, instanceId }), secrets, limits.maxReadBytes);
        logs.push({ instanceId, lines });
      }
      return logs;
    },
    async prune(living) {
      const deploymentIds = (await listFolder(root)).filter((name) => idPattern.test(name));
      const past: (Kept & {
        deploymentId: string /** 1 for the newest of the deployment. */;
        place: number;
      })[] = [];
      for (const deploymentId of deploymentIds) {
        const kept = (await listInstances(folderOf(deploymentId))).filter(
          (one) => !living.has(one.instanceId),
        );
        for (const [index, one] of kept.entries()) {
          past.push({ ...one, deploymentId, place: kept.length - index });
        }
      }
      past.sort((a, b) => b.writtenAtMs - a.writtenAtMs);
      const surplus = past.filter(
        (one, index) => index >= limits.pastLogs || one.place > limits.pastLogsPerDeployment,
      );
      for (const one of surplus) {
        for (const path of Object.values(filesOf(one))) await rm(path, { force: true });
      }
      for (const deploymentId of new Set(surplus.map((one) => one.deploymentId))) {
        await removeIfEmpty(folderOf(deploymentId));
      }
    },
  };
}

function openOutput(files: Files, secret: string, limits: LogLimits): InstanceOutput {
  let seen: { end: number; timesBytes: number } | null = null;

  async function remember(): Promise<{ end: number; timesBytes: number }> {
    const times = await readIfThere(files.times);
    return { end: parseSamples(times).at(-1)?.end ?? 0, timesBytes: times.length };
  }

  async function toPast(maxBytes: number): Promise<void> {
    const lines = await readAll(files, [secret], maxBytes);
    // The new past is complete before the raw lines go: a crash in between repeats lines rather than losing them.
    await writeFile(`${files.past}.next`, formatPast(lines), { mode: 0o600 });
    await rename(`${files.past}.next`, files.past);
  }

  return {
    path: files.raw,
    async sample() {
      seen ??= await remember();
      const now = await statIfThere(files.raw);
      if (now === null || now.size === seen.end) return;
      if (now.size > limits.maxLogBytes || seen.timesBytes > maxTimesBytes) {
        await toPast(limits.maxLogBytes / 2);
        // The engine appends: its next write lands at the new end.
        await truncate(files.raw, 0);
        await rm(files.times, { force: true });
        seen = { end: 0, timesBytes: 0 };
        return;
      }
      if (now.size < seen.end) await rm(files.times, { force: true }); // Cut by a control that ended in between.
      const entry = `${now.size} ${Math.floor(now.mtimeMs)}\n`;
      await appendFile(files.times, entry, { mode: 0o600 });
      seen = { end: now.size, timesBytes: seen.timesBytes + entry.length };
    },
    async lastLines(count) {
      const lines = await readAll(files, [secret], limits.maxReadBytes);
      return lines.slice(-count).map((line) => line.text);
    },
    async finish() {
      if ((await statIfThere(files.raw)) !== null) await toPast(limits.maxLogBytes / 2);
      await rm(files.raw, { force: true });
      await rm(files.times, { force: true });
    },
  };
}

async function readAll(files: Files, secrets: readonly string[], maxBytes: number): Promise<LogLine[]> {
  const past = parsePast(await readIfThere(files.past));
  const samples = parseSamples(await readIfThere(files.times));
  const raw = await readTail(files.raw, maxBytes);
  const current = raw === null ? [] : readRawLines(raw.bytes, raw.start, samples, raw.writtenAtMs, secrets);
  return newest([...past, ...current], maxBytes);
}

/** The last `maxBytes` bytes of a file, null when there is none. */
async function readTail(
  path: string,
  maxBytes: number,
): Promise<{ bytes: Buffer; start: number; writtenAtMs: number } | null> {
  const file = await open(path, "r").catch(nullIfMissing);
  if (file === null) return null;
  try {
    const { size, mtimeMs } = await file.stat();
    const start = Math.max(0, size - Math.floor(maxBytes));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    return { bytes: buffer.subarray(0, bytesRead), start, writtenAtMs: Math.floor(mtimeMs) };
  } finally {
    await file.close();
  }
}

type Kept = { readonly instanceId: string; readonly writtenAtMs: number };

/** Instances that have a log in this folder, the longest unwritten first. */
async function listInstances(folder: string): Promise<Kept[]> {
  const writtenAtMs = new Map<string, number>();
  for (const name of await listFolder(folder)) {
    const id = /^(.+)\.(log|past)$/.exec(name)?.[1];
    if (id === undefined || !idPattern.test(id)) continue;
    const info = await statIfThere(join(folder, name));
    if (info !== null) writtenAtMs.set(id, Math.max(writtenAtMs.get(id) ?? 0, info.mtimeMs));
  }
  const kept = [...writtenAtMs].map(([instanceId, at]) => ({ instanceId, writtenAtMs: at }));
  return kept.sort((a, b) => a.writtenAtMs - b.writtenAtMs);
}

async function listFolder(path: string): Promise<string[]> {
  return (await readdir(path).catch(nullIfMissing)) ?? [];
}

async function readIfThere(path: string): Promise<string> {
  return (await readFile(path, "utf8").catch(nullIfMissing)) ?? "";
}

async function statIfThere(path: string): Promise<{ size: number; mtimeMs: number } | null> {
  return await stat(path).catch(nullIfMissing);
}

async function removeIfEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
  });
}

function nullIfMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
  throw error;
}
