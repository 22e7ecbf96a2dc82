/**
 * Wires `berth backup` and `berth restore`: the state of BERTH_HOME, or of DATABASE_URL, to a file and back. A backup may
 * be made while Berth runs; a restore only while it does not.
 */

import { once } from "node:events";
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Settings } from "../settings.ts";
import { SettingsError } from "../settings.ts";
import { makeHome } from "../settings-files.ts";
import { readBackup, writeBackup } from "../store/backup.ts";
import { openDatabase } from "../store/store.ts";
import { findKeyId } from "../store/vault.ts";
import { systemClock } from "../telemetry/clock.ts";
import { loadSettings, takeLock } from "./process.ts";

const stateOf = (settings: Settings) => ({
  home: settings.BERTH_HOME,
  databaseUrl: settings.DATABASE_URL ?? null,
});
const keyOf = (settings: Settings) =>
  findKeyId({ home: settings.BERTH_HOME, secretKeyHex: settings.BERTH_SECRET_KEY ?? null });

/** The file appears under its name when it is whole; mode 0600. */
export async function backup(
  extra: Readonly<Record<string, string>>,
  file: string,
  wantsJson: boolean,
): Promise<number> {
  const settings = loadSettings(extra);
  const home = settings.BERTH_HOME;
  if (settings.DATABASE_URL === undefined && !existsSync(join(home, "berth.db")))
    throw new SettingsError(`There is no state of Berth in ${home}. Name its folder with BERTH_HOME.`);
  const database = await openDatabase(stateOf(settings));
  const draft = `${file}.incomplete`;
  const out = createWriteStream(draft, { mode: 0o600, flush: true });
  try {
    await once(out, "open");
    const about = { key: keyOf(settings), nowMs: systemClock.now() };
    const rows = await writeBackup(database, about, async (line) => {
      if (!out.write(`${line}\n`)) await once(out, "drain");
    });
    out.end();
    await once(out, "close");
    renameSync(draft, file);
    const key = settings.BERTH_SECRET_KEY === undefined ? join(home, "secret.key") : "BERTH_SECRET_KEY";
    print(wantsJson, { status: "backed-up", file, rows }, [
      `The state of ${home} is in ${file}: ${rows} rows.`,
      `Keep ${key} too, and elsewhere: without it the secrets in the backup cannot be opened.`,
    ]);
    return 0;
  } catch (error) {
    out.destroy();
    rmSync(draft, { force: true });
    throw explainFile(error, file);
  } finally {
    await database.kysely.destroy();
  }
}

export async function restore(
  extra: Readonly<Record<string, string>>,
  file: string,
  wantsJson: boolean,
): Promise<number> {
  const settings = loadSettings(extra);
  const home = settings.BERTH_HOME;
  makeHome(home);
  const lock = await takeLock(
    join(home, "control.lock"),
    0,
    `Berth runs on ${home}. Stop it before a restore; nothing was changed.`,
  );
  try {
    const lines = () =>
      createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
    const { rows, head } = await readBackup(lines, keyOf(settings), () => openDatabase(stateOf(settings)));
    const at = new Date(head.at_ms).toISOString();
    print(wantsJson, { status: "restored", rows, at }, [
      `The state of ${at} is in ${home} again: ${rows} rows. \`berth serve\` starts it.`,
    ]);
    return 0;
  } catch (error) {
    throw explainFile(error, file);
  } finally {
    lock.release();
  }
}

function print(wantsJson: boolean, value: object, lines: readonly string[]): void {
  process.stdout.write(wantsJson ? `${JSON.stringify(value)}\n` : `${lines.join("\n")}\n`);
}

/** A file that is not there or cannot be written is the person's to mend. */
function explainFile(error: unknown, file: string): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined || (syscall !== "open" && syscall !== "write"))
    return error;
  return new SettingsError(`The file ${file} cannot be used: ${message}. Name another.`);
}
