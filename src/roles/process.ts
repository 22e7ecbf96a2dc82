/**
 * What every role begins with: its settings, its log, its sockets, its lock. Imports no room that only one role runs,
 * since each role is a process and pays for what it loads.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Settings, SettingsError } from "../settings.ts";
import { readSettingsFile } from "../settings-files.ts";
import { readSettings } from "../settings-read.ts";
import { reachableHost } from "../supervisor/address.ts";
import { type HeldLock, waitForLock } from "../supervisor/lock.ts";
import { runDirectory } from "../supervisor/run-directory.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLog, type Log } from "../telemetry/log.ts";

/** Where Berth itself is: the folder with package.json. */
export const root = new URL("../..", import.meta.url).pathname;
export const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string })
  .version;

export function loadSettings(extra: Readonly<Record<string, string>> = {}): Settings {
  const env = { ...process.env, ...extra };
  const home = readSettings({ BERTH_HOME: env.BERTH_HOME }, null).BERTH_HOME;
  return readSettings(env, readSettingsFile(join(home, "berth.yaml")));
}

export function openLog(role: string, settings: Settings): Log {
  return createLog({
    role,
    level: settings.BERTH_LOG_LEVEL,
    isTerminal: process.stderr.isTTY === true,
    write: (line) => process.stderr.write(line),
  });
}

export function sockets(settings: Settings): { directory: string; api: string; link: string } {
  const directory = runDirectory(settings.BERTH_HOME);
  return { directory, api: join(directory, "api.sock"), link: join(directory, "link.sock") };
}

export function publicUrl(settings: Settings, port: number): string {
  const scheme = settings.BERTH_TLS_CERT === undefined ? "http" : "https";
  return `${scheme}://${reachableHost(settings.BERTH_HOST)}:${port}`;
}

/** @throws SettingsError with `message` when another process still holds the lock after `waitMs` */
export async function takeLock(path: string, waitMs: number, message: string): Promise<HeldLock> {
  const lock = await waitForLock(path, waitMs, systemClock);
  if (lock === null) throw new SettingsError(message);
  return lock;
}
